package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// ask sends text and reads one answer to a request of that method.
func ask(t testing.TB, c net.Conn, in *bufio.Reader, method, text string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// finish stops the proxy and returns the access log's lines.
func (r *rig) finish() []map[string]any {
	r.t.Helper()
	r.stop()
	err := <-r.ended
	if err != nil {
		r.t.Error(err)
	}
	r.ended <- nil
	var all []map[string]any
	for line := range strings.Lines(r.access.String()) {
		entry := map[string]any{}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			r.t.Errorf("not a JSON line: %q: %v", line, err)
		}
		all = append(all, entry)
	}
	return all
}

func TestRequestsOfOneConnectionAreRoutedEachByItsOwnHost(t *testing.T) {
	t.Parallel()
	say := func(text string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, say("I am a"))+static("b", "b.test", "HTTP", 80, say("I am b")))
	c := r.dial()
	in := bufio.NewReader(c)
	for _, host := range []string{"a", "b", "a", "a", "b"} {
		if _, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: "+host+".test\r\n\r\n"); body != "I am "+host {
			t.Errorf("%s answered %q", host, body)
		}
	}
}

// What follows a body that nobody forwarded must never be read as its rest, nor
// its rest as a request.
func TestARefusedRequestsBodyIsNotTakenForTheNextRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)))
	const inner = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for name, head := range map[string]string{
		"length":  fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner),
		"chunked": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
	} {
		c := r.dial()
		in := bufio.NewReader(c)
		resp, _ := ask(t, c, in, "POST", "POST / HTTP/1.1\r\nHost: other.test\r\n"+head)
		if resp.StatusCode != 502 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		if resp.Close {
			continue // a right answer too
		}
		if resp, _ := ask(t, c, in, "GET", "GET /mine HTTP/1.1\r\nHost: a.test\r\n\r\n"); resp.Header.Get("X-Path") != "/mine" {
			t.Errorf("%s: the second answer is for %q", name, resp.Header.Get("X-Path"))
		}
	}
	// The body comes later than the refusal: its bytes are no request.
	c := r.dial()
	in := bufio.NewReader(c)
	if resp, _ := ask(t, c, in, "POST", fmt.Sprintf("POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: %d\r\n\r\n", len(inner))); !resp.Close {
		t.Error("the connection lives on though a body is to come")
	}
	io.WriteString(c, inner)
	if rest, _ := io.ReadAll(in); len(rest) != 0 {
		t.Errorf("a second answer: %q", rest)
	}
}

func TestHostsWrittenAsAddressesAreRouted(t *testing.T) {
	t.Parallel()
	up := serve(t, echo)
	r := newRig(t, mesh.RegistryOnly, strings.Replace(static("a", "a.test", "HTTP", 80, up), "spec:", "spec:\n  addresses: [2001:db8::7, 192.0.2.7]", 1))
	for host, want := range map[string]int{
		"[2001:db8::7]": 200, "[2001:db8::7]:80": 200, "[2001:DB8::7]": 200, "192.0.2.7": 200, "192.0.2.7:80": 200,
		"[2001:db8::8]": 502, "192.0.2.8": 502, "2001:db8::7": 400, "[2001:db8::7": 400, "[2001:db8::7]x": 400,
	} {
		got := r.raw("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("Host %s: want %d, got %q", host, want, got)
		}
	}
}

func TestHTTP10ClientsMayKeepTheirConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)))
	c := r.dial()
	in := bufio.NewReader(c)
	for range 3 {
		resp, body := ask(t, c, in, "GET", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
		if body != "GET 0" || !strings.EqualFold(resp.Header.Get("Connection"), "keep-alive") {
			t.Fatalf("%q %v", body, resp.Header)
		}
	}
	if got := r.raw("GET / HTTP/1.0\r\nHost: a.test\r\n\r\nGET / HTTP/1.0\r\nHost: a.test\r\n\r\n"); strings.Count(got, "HTTP/1.1 ") != 1 {
		t.Errorf("a 1.0 client that asked for nothing kept its connection: %q", got)
	}
}

func TestAMalformedRequestAfterHEADIsAnsweredWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)))
	c := r.dial()
	in := bufio.NewReader(c)
	ask(t, c, in, "HEAD", "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if resp, body := ask(t, c, in, "GET", "GET /\r\n\r\n"); resp.StatusCode != 400 || body != "Bad Request" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestAHugeChunkExtensionIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)))
	c := r.dial()
	resp, body := ask(t, c, bufio.NewReader(c), "POST", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;"+strings.Repeat("x", 8<<10))
	if resp.StatusCode != 400 || body != "Bad Request" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestAClientThatLeavesMidUploadIsSeenToHaveLeft(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]string{
		"length":   "Content-Length: 1000\r\n\r\nhalf",
		"chunked":  "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"in chunk": "Transfer-Encoding: chunked\r\n\r\nff\r\nhalf",
	} {
		for _, reset := range []bool{false, true} {
			arrived, ended := make(chan struct{}), make(chan error, 1)
			up := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				io.ReadFull(r.Body, make([]byte, 4))
				close(arrived)
				_, err := io.ReadAll(r.Body)
				ended <- err
			})
			r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
			c := r.dial()
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\n"+start)
			<-arrived
			if reset {
				c.SetLinger(0)
			}
			c.Close()
			if err := <-ended; err == nil {
				t.Errorf("%s, reset %v: half a body passed for a whole one", name, reset)
			}
			if log := r.finish(); len(log) != 1 || log[0]["response_flags"] != "DC" {
				t.Errorf("%s, reset %v: logged %v", name, reset, log)
			}
		}
	}
}

func TestAClientThatLeavesMidDownloadFreesTheServer(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for block := make([]byte, 32<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	io.ReadFull(c, make([]byte, 200<<10))
	c.Close()
	select {
	case <-ended:
	case <-time.After(await.Patience):
		t.Fatal("the server writes on for nobody")
	}
	if log := r.finish(); len(log) != 1 || log[0]["response_flags"] != "DC" {
		t.Errorf("logged %v", log)
	}
}

func TestTheAccessLogIsJSONWhateverStrangersSend(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)))
	for _, text := range []string{
		"GET /\"\\\xff\xc3\xed\xa0\x80\xe2\x80\xa8</script> HTTP/1.1\r\nHost: a.test\r\n",
		"GET /\xf0\x9f\x92\xa7 HTTP/1.1\r\nHost: other'$&.test\r\n",
		"G!#$%&'*+-.^_`|~ET / HTTP/1.1\r\nHost: a.test\r\n",
		"GET / HTTP/1.1\r\nHost: \"\r\n",
		"GET /\x1b[31m HTTP/1.1\r\nHost: a.test\r\n",
	} {
		r.raw(text + "Connection: close\r\n\r\n")
	}
	log := r.finish()
	if len(log) != 5 {
		t.Fatalf("%d lines", len(log))
	}
	if got := log[0]["path"].(string); !strings.HasPrefix(got, "/\"\\\ufffd") || !strings.HasSuffix(got, "</script>") {
		t.Errorf("the path became %q", got)
	}
}
