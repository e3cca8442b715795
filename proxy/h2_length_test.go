package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-cni/sluice/mesh"
)

// frameServer answers every request with these header sections, the last of which
// ends the answer. Each is a list of names and values.
func frameServer(t *testing.T, sections ...[]string) (address string) {
	return tcpServer(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		fr.WriteSettings()
		var block strings.Builder
		enc := hpack.NewEncoder(&block)
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			request, ok := f.(*http2.MetaHeadersFrame)
			if !ok {
				continue
			}
			for i, fields := range sections {
				block.Reset()
				for n := 0; n < len(fields); n += 2 {
					enc.WriteField(hpack.HeaderField{Name: fields[n], Value: fields[n+1]})
				}
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: request.StreamID, BlockFragment: []byte(block.String()),
					EndHeaders: true, EndStream: i == len(sections)-1})
			}
		}
	})
}

// RFC 9110 §8.6: a client that believed it would take the next answer for a body.
func TestAnAnswerThatCanHaveNoBodyHasNoLength(t *testing.T) {
	t.Parallel()
	const length = "content-length"
	hint := []string{":status", "103", "link", "</a.css>", length, "7"}
	for _, c := range []struct {
		what, method, want string // of the answer's lines, those that are compared
		final              []string
	}{
		{"204", "GET", "103 link, 204 x", []string{":status", "204", "x", "1", length, "0"}},
		{"204 with a false length", "GET", "103 link, 204 x", []string{":status", "204", "x", "1", length, "5"}},
		{"304, where it is the other answer's", "GET", "103 link, 304 content-length", []string{":status", "304", length, "5"}},
		{"an answer to HEAD, likewise", "HEAD", "103 link, 200 content-length", []string{":status", "200", length, "5"}},
		{"an empty answer", "GET", "103 link, 200 content-length", []string{":status", "200", length, "0"}},
	} {
		r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP2", 80, frameServer(t, hint, c.final)))
		if got := heads1(t, r, c.method); got != c.want {
			t.Errorf("%s over HTTP/1.1: %s, want %s", c.what, got, c.want)
		}
		if got := heads2(t, r, c.method); got != c.want {
			t.Errorf("%s over HTTP/2: %s, want %s", c.what, got, c.want)
		}
	}
}

// told are the names of a header section that the servers of this file give.
func told(status int, has func(string) bool) string {
	out := fmt.Sprint(status)
	for _, name := range []string{"link", "x", "content-length"} {
		if has(name) {
			out += " " + name
		}
	}
	return out
}

// heads1 asks twice on one connection, so that a length which is believed would
// show, and gives the heads of each answer, which must be the same.
func heads1(t *testing.T, r *rig, method string) string {
	t.Helper()
	c := r.dial()
	in := bufio.NewReader(c)
	var answers [2]string
	for i := range answers {
		io.WriteString(c, method+" / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		for status := 0; status < 200; {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &status); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			head := http.Header{}
			for line, err = in.ReadString('\n'); line != "\r\n"; line, err = in.ReadString('\n') {
				if err != nil {
					t.Fatal(err)
				}
				name, value, _ := strings.Cut(line, ":")
				head.Add(name, value)
			}
			answers[i] += told(status, func(name string) bool { return head.Get(name) != "" }) + ", "
		}
	}
	if answers[0] != answers[1] {
		t.Errorf("%q and then %q", answers[0], answers[1])
	}
	return strings.TrimSuffix(answers[0], ", ")
}

func heads2(t *testing.T, r *rig, method string) string {
	t.Helper()
	c := r.frames(t)
	c.headers(1, true, ":scheme", "http", ":method", method, ":authority", "a.test", ":path", "/")
	var heads []string
	c.await("the answer's end", func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		if !ok {
			return false
		}
		status := 0
		fmt.Sscan(h.PseudoValue("status"), &status)
		heads = append(heads, told(status, func(name string) bool {
			for _, field := range h.RegularFields() {
				if field.Name == name {
					return true
				}
			}
			return false
		}))
		return h.StreamEnded()
	})
	return strings.Join(heads, ", ")
}
