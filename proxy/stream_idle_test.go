package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// What is slow moves every step, and takes longer than the limit.
const (
	idleLimit = 3 * time.Second
	slowStep  = idleLimit / 5
	slowSteps = 8
	slowPart  = 16 << 10
	slowWhole = slowSteps * slowPart // enough that the kernel moves it, where its length is known
)

// idleCase is a request, asked for at a path of its own, and what a server does.
type idleCase struct {
	stalls bool // is to be ended: the log says so, and the server is told
	serve  http.HandlerFunc
	ask    func(c *http.Client, url string) error
}

var idleCases = map[string]idleCase{
	"a silent server": {true, untilLeft, func(c *http.Client, url string) error {
		return answered(504, "stream timeout")(c.Get(url))
	}},
	"a silent server that has all of a body": {true, untilLeft, func(c *http.Client, url string) error {
		return answered(504, "stream timeout")(c.Post(url, "", strings.NewReader("whole")))
	}},
	"half a request with a length": {true, wantsHalf, func(c *http.Client, url string) error { return sendHalf(c, url, slowWhole) }},
	"half a request in chunks":     {true, wantsHalf, func(c *http.Client, url string) error { return sendHalf(c, url, -1) }},
	"half an answer with a length": {true, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(slowWhole))
		sayHalf(w, r)
	}, getHalf},
	"half an answer in chunks": {true, sayHalf, getHalf},
	"an application that does not read": {true, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, slowPart)); err != nil {
				return
			}
		}
	}, func(c *http.Client, url string) error {
		_, err := c.Get(url) // the body stays as it is; the client ends with the test
		return err
	}},
	// A server may well be silent until it has all of a request.
	"a slow request with a length": {false, countBody, func(c *http.Client, url string) error { return sendSlowly(c, url, slowWhole) }},
	"a slow request in chunks":     {false, countBody, func(c *http.Client, url string) error { return sendSlowly(c, url, -1) }},
	"a slow answer with a length": {false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(slowWhole))
		slowly(w)
	}, getSlowly},
	"a slow answer in chunks": {false, func(w http.ResponseWriter, r *http.Request) { slowly(w) }, getSlowly},
	"an application that listens for long and then goes on": {false, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		if slowly(w) == nil {
			io.Copy(w, r.Body)
		}
	}, listenAndGoOn},
}

// Envoy's stream_idle_timeout: 408 where a request is not whole, 504 where it is, and
// an answer that has begun is cut. Over HTTP/2 all cases share a connection: the end
// of one is nobody else's.
func TestARequestIsEndedWhenNothingMovesAndOnlyThen(t *testing.T) {
	t.Parallel()
	for _, m := range append(modes[:len(modes):len(modes)], mode{"h1 to h1 over TLS", "h1", "h1tls"}, mode{"h2 to h1 over TLS", "h2", "h1tls"}) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			byPath, told := map[string]idleCase{}, map[string]chan struct{}{}
			for name, c := range idleCases {
				path := "/" + strings.ReplaceAll(name, " ", "-")
				byPath[path], told[path] = c, make(chan struct{})
			}
			r := newRig(t, mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(told[r.URL.Path])
				byPath[r.URL.Path].serve(w, r)
			}), func(c *proxy.Config) { c.StreamIdleTimeout = idleLimit })
			client := m.client(r)
			var all sync.WaitGroup
			for path, c := range byPath {
				all.Go(func() {
					if err := c.ask(client, "http://a.example.com"+path); err != nil {
						t.Errorf("%s: %v", path, err)
					}
					select {
					case <-told[path]:
					case <-time.After(await.Patience):
						t.Errorf("%s: the server was never told", path)
					}
				})
			}
			all.Wait()
			for path, c := range byPath {
				await.True(t, "the log has "+path, func() bool { return r.line(path) != "" })
				if line := r.line(path); strings.Contains(line, `"SI","response_code_details":"stream_idle_timeout"`) != c.stalls {
					t.Errorf("%s", line)
				}
			}
		})
	}
}

// line is what the access log has of a path.
func (r *rig) line(path string) string {
	for line := range strings.Lines(r.access.String()) {
		if strings.Contains(line, `"path":"`+path+`"`) {
			return line
		}
	}
	return ""
}

// slowly writes a body in steps.
func slowly(w io.Writer) (err error) {
	for i := 0; i < slowSteps && err == nil; i++ {
		time.Sleep(slowStep) // the claim is about time
		_, err = w.Write(make([]byte, slowPart))
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	return err
}

func untilLeft(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// wantsHalf reads what is never sent, and takes care that no half passes for a whole.
func wantsHalf(w http.ResponseWriter, r *http.Request) {
	if n, err := io.Copy(io.Discard, r.Body); err == nil {
		panic(fmt.Sprint(n, " bytes passed for a whole request"))
	}
}

func sayHalf(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "half")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func countBody(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, n, err)
}

// answered checks a status and a body.
func answered(status int, body string) func(*http.Response, error) error {
	return func(resp *http.Response, err error) error {
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != status || string(got) != body) {
			err = fmt.Errorf("%d %q, want %d %q", resp.StatusCode, got, status, body)
		}
		return err
	}
}

func post(c *http.Client, url string, from io.Reader, length int64) (*http.Response, error) {
	req, err := http.NewRequest("POST", url, from)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	return c.Do(req)
}

func sendHalf(c *http.Client, url string, length int64) error {
	out, in := io.Pipe()
	defer in.Close()
	go in.Write(make([]byte, 100))
	return answered(408, "stream timeout")(post(c, url, out, length))
}

func sendSlowly(c *http.Client, url string, length int64) error {
	out, in := io.Pipe()
	go func() { in.CloseWithError(slowly(in)) }()
	return answered(200, fmt.Sprint(slowWhole, " <nil>"))(post(c, url, out, length))
}

func getHalf(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil || string(got) != "half" {
		return fmt.Errorf("%q, %v", got, err)
	}
	return nil
}

func getSlowly(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != slowWhole || err != nil {
		return fmt.Errorf("%d bytes, %w", n, err)
	}
	return nil
}

func listenAndGoOn(c *http.Client, url string) error {
	out, in := io.Pipe()
	defer in.Close()
	resp, err := post(c, url, out, -1)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, slowWhole); err != nil {
		return fmt.Errorf("%d bytes, %w", n, err)
	}
	io.WriteString(in, "again")
	in.Close()
	got, err := io.ReadAll(resp.Body)
	if string(got) != "again" {
		return errors.Join(err, fmt.Errorf("%q after that", got))
	}
	return err
}
