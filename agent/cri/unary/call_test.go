package unary_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/cri/unary"
	"github.com/sluice-cni/sluice/agent/cri/unary/unarytest"
	"github.com/sluice-cni/sluice/internal/await"
)

func call(t *testing.T, socket string) ([]byte, error) {
	t.Helper()
	c := unary.New("unix://" + socket)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), await.Patience)
	defer cancel()
	return c.Call(ctx, "a.B/C", []byte("request"))
}

// That the client speaks the protocol as real runtimes do is what e2e/node sees; here
// are the answers that those do not give.
func TestACall(t *testing.T) {
	t.Parallel()
	socket := unarytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.Path != "/a.B/C" || r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" || r.ProtoMajor != 2 {
			t.Errorf("asked %s %s %v in %s", r.Method, r.URL, r.Header, r.Proto)
		}
		unarytest.Reply(string(body), "0", "")(w, r)
	}))
	got, err := call(t, socket)
	if err != nil || string(got) != "request" {
		t.Errorf("answer %q, %v", got, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"an error in the trailers", unarytest.Reply("", "13", "it broke: 100%25"), "error 13: it broke: 100%"},
		{"an error in the head alone", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "no such pod")
		}, "error 5: no such pod"},
		{"no status", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, unarytest.Frame(0, 0, "")) }, "broke off before its status"},
		{"not gRPC", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "is this a socket of gRPC?"},
		{"no message", unarytest.Reply("abc", "0", ""), "3 bytes and no message"},
		{"compressed", unarytest.Reply(unarytest.Frame(1, 3, "abc"), "0", ""), "compressed"},
		{"cut short", unarytest.Reply(unarytest.Frame(0, 9, "abc"), "0", ""), "3 bytes after a prefix that says 9"},
		{"two messages", unarytest.Reply(unarytest.Frame(0, 1, "a")+unarytest.Frame(0, 1, "b"), "0", ""), "says 1"},
		{"too large", func(w http.ResponseWriter, r *http.Request) {
			unarytest.Reply(unarytest.Frame(0, 17<<20, strings.Repeat("a", 17<<20)), "0", "")(w, r)
		}, "more than 16777216 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := call(t, unarytest.Serve(t, test.answer))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if got, want := unary.NotFound(err), strings.Contains(test.want, "error 5"); got != want {
				t.Errorf("NotFound: %v", got)
			}
		})
	}
}

func TestNobodyThereSaysWhere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	if _, err := call(t, path); err == nil || !strings.Contains(err.Error(), "ask "+path) {
		t.Errorf("error %v", err)
	}
}

// A server that comes back at the same path is found by the next call.
func TestARestartedServerIsFoundAgain(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	c := unary.New(socket)
	defer c.Close()
	for range 3 {
		stop := unarytest.ServeAt(t, socket, unarytest.Reply(unarytest.Frame(0, 2, "ok"), "0", ""))
		if got, err := c.Call(t.Context(), "a.B/C", nil); err != nil || string(got) != "ok" {
			t.Errorf("answer %q, %v", got, err)
		}
		stop()
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	socket := unarytest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	c := unary.New(socket)
	defer c.Close()
	if _, err := c.Call(ctx, "a.B/C", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	message := unary.Join(unary.Text(1, "a", "b"), unary.Number(2, 1<<40), unary.Message(20, unary.Text(1, "in")),
		[]byte{3<<3 | 5, 1, 2, 3, 4}, // a field of fixed size
		unary.Map(4, map[string]string{"key": "value"}))
	var got []string
	var m map[string]string
	err := unary.Fields(message, func(f unary.Field) error {
		switch f.Number {
		case 1:
			got = append(got, string(f.Bytes))
		case 2:
			if f.Value != 1<<40 {
				t.Errorf("number %d", f.Value)
			}
		case 20:
			return unary.Fields(f.Bytes, func(f unary.Field) error { got = append(got, string(f.Bytes)); return nil })
		case 4:
			return unary.Entry(f.Bytes, &m)
		default:
			t.Errorf("field %d", f.Number)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"a", "b", "in"}) || m["key"] != "value" {
		t.Errorf("read %q, %v, %v", got, m, err)
	}
}

func FuzzFields(f *testing.F) {
	f.Add(unary.Join(unary.Text(1, "a"), unary.Number(2, 3), unary.Message(3, unary.Text(1, "b"))))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, message []byte) {
		var m map[string]string
		unary.Fields(message, func(f unary.Field) error {
			unary.Entry(f.Bytes, &m)
			return nil
		})
	})
}
