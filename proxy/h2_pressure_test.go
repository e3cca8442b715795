package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// upload opens a stream with the first bytes of a body.
func (c *frameClient) upload(id uint32, host string, body []byte) {
	c.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", host)
	for len(body) > 0 {
		n := min(len(body), 16<<10)
		c.fr.WriteData(id, false, body[:n])
		body = body[n:]
	}
}

// Bodies that cannot go on are bounded, over all connections; what holds them leaves
// room for others when it ends.
func TestBodiesThatCannotGoOnAreBounded(t *testing.T) {
	t.Parallel()
	const each, room = 40 << 10, 100 << 10
	yaml := static("hole", "hole.test", "HTTP", 80, blackHole(t)) + static("a", "a.test", "HTTP", 80, serve(t, mirror))
	r := newRig(t, mesh.RegistryOnly, yaml, limited(proxy.Limits{Bodies: 2 * room}))
	for round := range 2 {
		var held []*frameClient
		for range room / each {
			c := r.frames(t)
			c.upload(1, "hole.test", make([]byte, each))
			c.fr.WritePing(false, [8]byte{})
			c.await("a PING's answer", func(f http2.Frame) bool { _, is := f.(*http2.PingFrame); return is })
			held = append(held, c)
		}
		over := r.frames(t)
		over.upload(1, "hole.test", make([]byte, each))
		reset := over.await("a reset", func(f http2.Frame) bool { return f.Header().StreamID == 1 }).(*http2.RSTStreamFrame)
		if reset.ErrCode != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("round %d: %v", round, reset)
		}
		if resp, _ := r.get("http://a.test/"); resp.StatusCode != 200 {
			t.Errorf("round %d: HTTP/1.1 meanwhile: %d", round, resp.StatusCode)
		}
		for _, c := range held {
			c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		}
		body := bytes.Repeat([]byte("x"), each)
		await.True(t, "there is room again", func() bool {
			resp, err := r.h2Client().Post("http://a.test/", "", bytes.NewReader(body))
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			return err == nil && bytes.Equal(got, body)
		})
	}
	var shed []string
	for _, entry := range r.finish() {
		if entry["response_flags"] == "UO" {
			shed = append(shed, fmt.Sprint(entry["response_code"], entry["response_code_details"]))
		}
	}
	if len(shed) < 2 || shed[0] != "0overflow" {
		t.Errorf("logged as shed: %v", shed)
	}
}

func TestRequestsOverTheStreamLimitAreShedAndTheNextAreServed(t *testing.T) {
	t.Parallel()
	const limit = 3
	asked, answer := make(chan struct{}), make(chan struct{})
	yaml := mode{service: "h1"}.serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/wait" {
			asked <- struct{}{}
			<-answer
		}
	})
	r := newRig(t, mesh.RegistryOnly, yaml, limited(proxy.Limits{Streams: limit}))
	var held []*frameClient
	for range limit {
		c := r.frames(t)
		c.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/wait", ":authority", "a.example.com")
		<-asked
		held = append(held, c)
	}
	if status, headers, _ := r.stream(t, ":path", "/", ":authority", "a.example.com"); status != 503 || headers["x-envoy-overloaded"] != "true" {
		t.Errorf("over the limit: %d %v", status, headers)
	}
	for _, c := range held {
		answer <- struct{}{}
		if status, _, _ := c.answer(1); status != 200 {
			t.Errorf("within the limit: %d", status)
		}
	}
	await.True(t, "the next is served", func() bool {
		status, _, _ := r.stream(t, ":path", "/", ":authority", "a.example.com")
		return status == 200
	})
}
