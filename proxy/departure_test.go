package proxy_test

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// departing is who waits for an answer when it leaves, and how.
type departing struct {
	service string // as in mode
	warm    bool   // not its connection's first request, so one that a lane has
	began   bool   // the answer has begun
	reset   bool
}

func departures() map[string]departing {
	all := map[string]departing{}
	for _, service := range []string{"h1", "h1tls", "h2c"} {
		for _, warm := range []bool{false, true} {
			for _, reset := range []bool{false, true} {
				name := service
				if warm {
					name += ", kept alive"
				}
				if reset {
					name += ", reset"
					all[name+" within its answer"] = departing{service, warm, true, true}
				}
				all[name] = departing{service, warm, false, reset}
			}
		}
	}
	return all
}

// serve starts a server that answers /warm and is silent, at once or half-way, for all
// else until its client has left, which it tells.
func (d departing) serve(t *testing.T) (yaml string, asked, left chan struct{}) {
	asked, left = make(chan struct{}, 1), make(chan struct{}, 1)
	handle := func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/warm" {
			w.Header().Set("Content-Length", "0")
			return
		}
		if d.began {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
		}
		asked <- struct{}{}
		<-req.Context().Done()
		left <- struct{}{}
	}
	return mode{service: d.service}.serve(t, handle), asked, left
}

// A server that hangs keeps nothing for an application that has left.
func TestAnApplicationThatLeavesWhileItWaitsIsSeenToHaveLeft(t *testing.T) {
	t.Parallel()
	for name, d := range departures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			yaml, asked, left := d.serve(t)
			r := newRig(t, mesh.RegistryOnly, yaml)
			proxy.NoticeDepartures(r.server, 10*time.Millisecond, 50*time.Millisecond)
			c := r.dial()
			in := bufio.NewReader(c)
			head := " HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
			if d.warm {
				for range 2 { // the first leaves a connection that a lane can use
					exchange(t, c, in, "GET", "GET /warm"+head)
				}
			}
			io.WriteString(c, "GET /hang"+head)
			<-asked
			if d.began {
				if _, err := http.ReadResponse(in, nil); err != nil {
					t.Fatal(err)
				}
			}
			if d.reset {
				c.SetLinger(0)
			}
			c.Close()
			select {
			case <-left:
			case <-time.After(await.Patience):
				t.Fatal("the server is still held")
			}
			log := r.finish()
			last := log[len(log)-1]
			want := 0.0
			if d.began {
				want = 200
			}
			if last["response_code"] != want || last["response_flags"] != "DC" || last["response_code_details"] != "downstream_remote_disconnect" {
				t.Errorf("logged %v", last)
			}
		})
	}
}

// An end may be that of the request alone.
func TestAnApplicationThatHalfClosesIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	for _, warm := range []bool{false, true} {
		asked, answer := make(chan struct{}), make(chan struct{})
		r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/late" {
				asked <- struct{}{}
				<-answer
			}
			io.WriteString(w, "here")
		})))
		proxy.NoticeDepartures(r.server, time.Millisecond, time.Minute)
		c := r.dial()
		in := bufio.NewReader(c)
		if warm {
			for range 2 {
				exchange(t, c, in, "GET", get("early"))
			}
		}
		io.WriteString(c, get("late"))
		<-asked
		c.CloseWrite()
		time.AfterFunc(20*time.Millisecond, func() { answer <- struct{}{} })
		if resp, body := answerTo(t, in, "GET"); resp.StatusCode != 200 || body != "here" {
			t.Errorf("kept alive %v: %d %q", warm, resp.StatusCode, body)
		}
	}
}
