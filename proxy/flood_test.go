package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// neighbours are two pods of a node that has ten: one that floods, one that does not.
type neighbours struct {
	loud, quiet           *rig
	loudShare, quietShare *proxy.Share
	shares                *proxy.Shares
	logged                *slowReader
	arrived, leave        chan struct{} // of requests to meet.test
}

// slowReader is an access log's reader that does not read until it is let.
type slowReader struct {
	read chan struct{}
	mu   sync.Mutex
	b    bytes.Buffer
}

func (s *slowReader) Write(p []byte) (int, error) {
	<-s.read
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *slowReader) lines(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for line := range bytes.Lines(s.b.Bytes()) {
		if bytes.Contains(line, []byte(part)) {
			n++
		}
	}
	return n
}

const (
	pods         = 10
	perPod       = 8        // connections that each pod has for sure, of either side
	memoryPerPod = 64 << 10 // bytes
)

func newNeighbours(t *testing.T) *neighbours {
	n := &neighbours{
		shares: proxy.NewShares(proxy.Totals{Descriptors: pods * (8 + 4*perPod), Fixed: 8, Memory: 4 * pods * memoryPerPod}),
		logged: &slowReader{read: make(chan struct{})}, arrived: make(chan struct{}, 100), leave: make(chan struct{}),
	}
	t.Cleanup(func() { // when the Servers have ended
		if held, _ := n.shares.Usage(); held != (proxy.Usage{}) {
			t.Errorf("nobody is there, and %+v is held", held)
		}
	})
	logs := proxy.NewAccessLog(n.logged, proxy.AccessLogJSON, slog.New(slog.DiscardHandler))
	var logging sync.WaitGroup
	t.Cleanup(logging.Wait)
	logging.Go(func() { logs.Run(t.Context()) }) // until just before the cleanup
	yaml := static("hole", "hole.test", "HTTP", 80, blackHole(t)) + static("a", "a.test", "HTTP", 80, serve(t, mirror)) +
		static("meet", "meet.test", "HTTP", 80, serve(t, func(http.ResponseWriter, *http.Request) { n.arrived <- struct{}{}; <-n.leave })) + `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: hole}
spec: {host: hole.test, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 60s}}}}
`
	pod := func(name string) (*rig, *proxy.Share) {
		share := n.shares.Join()
		return newRig(t, mesh.RegistryOnly, yaml, func(cfg *proxy.Config) {
			cfg.Limits.Share, cfg.AccessLog, cfg.AccessLogs = share, nil, logs
			cfg.Workload = mesh.Workload{Namespace: "shop", Pod: name}
			cfg.DrainTimeout = time.Second
		}), share
	}
	n.loud, n.loudShare = pod("loud")
	n.quiet, n.quietShare = pod("quiet")
	for range pods - 2 {
		n.shares.Join()
	}
	return n
}

// served has the quiet pod use all that it has for sure, at once.
func (n *neighbours) served(t *testing.T) {
	t.Helper()
	begun := time.Now()
	if _, sure := n.quietShare.Usage(); sure.Connections != perPod || sure.Memory != memoryPerPod {
		t.Fatalf("it has %+v for sure", sure)
	}
	answers := make(chan string, perPod/2)
	for range cap(answers) { // with a connection on either side
		c := n.quiet.dial()
		go func() {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: meet.test\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- resp.Status
		}()
	}
	for range cap(answers) {
		select {
		case <-n.arrived:
		case got := <-answers:
			t.Fatalf("a request of the quiet pod: %s", got)
		}
	}
	for range cap(answers) {
		n.leave <- struct{}{}
	}
	for range cap(answers) {
		if got := <-answers; got != "200 OK" {
			t.Errorf("a request of the quiet pod: %s", got)
		}
	}
	c := n.quiet.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\nX: "+strings.Repeat("x", 10<<10)+"\r\n\r\nhello")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("with a large head: %v, %v", resp, err)
	}
	body := bytes.Repeat([]byte("x"), 20<<10)
	client := n.quiet.h2Client()
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://a.test/", "", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("over HTTP/2: %d bytes of %d, %v", len(got), len(body), err)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}

// hasAll waits until the loud pod has all the connections that are to be had.
func (n *neighbours) hasAll(t *testing.T) {
	t.Helper()
	await.True(t, "all that is to be had is had", func() bool {
		held, _ := n.loudShare.Usage()
		return held.Connections >= pods*4*perPod-(pods-1)*perPod-1
	})
}

// overloaded says whether the loud pod was refused something.
func (n *neighbours) overloaded(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	c.SetReadDeadline(time.Time{})
	return isOverflow(resp) || err != nil && isReset(err)
}

func TestOnePodsFloodLeavesTheOthersTheirShare(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(t *testing.T, n *neighbours){
		"connections": func(t *testing.T, n *neighbours) {
			for range pods * 6 * perPod {
				c, err := net.Dial("tcp", n.loud.addr)
				if err != nil {
					continue // reset by then
				}
				t.Cleanup(func() { c.Close() })
				io.WriteString(c, "GET / HT")
			}
			n.hasAll(t)
			// each goes on trying, against what has become free
			go func() {
				for t.Context().Err() == nil {
					if c, err := net.Dial("tcp", n.loud.addr); err == nil {
						io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
						io.Copy(io.Discard, c)
						c.Close()
					}
				}
			}()
		},
		"a server that is a black hole": func(t *testing.T, n *neighbours) {
			for range pods * 2 * perPod {
				c, err := net.Dial("tcp", n.loud.addr)
				if err != nil {
					continue
				}
				t.Cleanup(func() { c.Close() })
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: hole.test\r\n\r\n")
			}
			n.hasAll(t)
		},
		"bodies that nobody takes": func(t *testing.T, n *neighbours) {
			const each = 40 << 10
			for full := false; !full; {
				c := n.loud.frames(t)
				c.upload(1, "hole.test", make([]byte, each))
				c.fr.WritePing(false, [8]byte{})
				c.await("a PING's answer, or a reset", func(f http2.Frame) bool {
					_, reset := f.(*http2.RSTStreamFrame)
					_, ping := f.(*http2.PingFrame)
					full = full || reset
					return reset || ping
				})
			}
		},
		"heads without an end": func(t *testing.T, n *neighbours) {
			for full := false; !full; {
				c := n.loud.dial()
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nX: "+strings.Repeat("x", 17<<10)) // needs 64 KiB
				full = n.overloaded(c)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNeighbours(t)
			close(n.logged.read)
			flood(t, n)
			for range 3 {
				n.served(t)
			}
		})
	}
}

func TestAFloodOfRequestsLeavesTheOthersTheirLogLines(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t)
	const many, few = 3000, 15
	c := n.loud.dial()
	in := bufio.NewReader(c)
	for range many {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	for range few {
		if _, got := outcome(n.quiet.dial()); got != "200" {
			t.Errorf("a request of the quiet pod: %s", got)
		}
	}
	close(n.logged.read)
	await.True(t, "all lines of the quiet pod are there", func() bool { return n.logged.lines(`"pod_name":"quiet"`) == few })
	if got := n.logged.lines(`"pod_name":"loud"`); got == 0 || got == many {
		t.Errorf("%d lines of the loud pod, of %d", got, many)
	}
}

// A pod whose share is used up by connections that wait for another request gives those
// up for the next, the longest idle first.
func TestIdleConnectionsOfItsOwnGiveWayToAPodsNext(t *testing.T) {
	t.Parallel()
	r, _ := newRigOfShare(t)
	client := r.client()
	for i := range 100 {
		askName(t, client, i)
		client.CloseIdleConnections()
	}
}

// newRigOfShare is a rig with a share of 32 connections.
func newRigOfShare(t *testing.T) (*rig, *proxy.Share) {
	share := proxy.NewShares(proxy.Totals{Descriptors: 40, Fixed: 8}).Join()
	s := newCounting()
	return newRig(t, mesh.RegistryOnly, anyName(t, "HTTP", "tcp: {}", s.ServeHTTP), limited(proxy.Limits{Share: share})), share
}

// askName asks one of many servers, to which an idle connection stays.
func askName(t *testing.T, client *http.Client, i int) {
	t.Helper()
	resp, err := client.Get(fmt.Sprintf("http://n%d.example.com/", i))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("request %d: %s", i, resp.Status)
	}
}

// A pod that has all of its share in use, and beside it others that have all the rest, still
// finds names: two at a time, and whoever asks for more waits for those.
func TestNamesAreFoundThoughTheWholeShareIsInUse(t *testing.T) {
	t.Parallel()
	share := proxy.NewShares(proxy.Totals{Descriptors: 42, Fixed: 10}).Join()
	for share.Take(t.Context()) {
	}
	over, cancel := context.WithCancel(t.Context())
	first, ok := share.Ask(over)
	_, also := share.Ask(over)
	if !ok || !also {
		t.Fatalf("questions go out: %t, %t", ok, also)
	}
	third := make(chan bool)
	go func() {
		_, ok := share.Ask(t.Context())
		third <- ok
	}()
	select {
	case <-third:
		t.Fatal("a third did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	first()
	if !<-third {
		t.Error("the third had no turn")
	}
	cancel()
	if _, ok := share.Ask(over); ok {
		t.Error("a fourth goes out, after its time")
	}
	held, _ := share.Usage()
	share.GiveBack()
	giveBack, ok := share.Ask(over)
	if !ok {
		t.Fatal("none goes out though the share has room")
	}
	giveBack()
	if now, _ := share.Usage(); now.Connections != held.Connections-1 {
		t.Errorf("%d are held, of %d", now.Connections, held.Connections)
	}
}

// What a pod has open besides, as for DNS, is of its share too: idle connections give way
// to it, and while it has everything there is none to be had.
func TestWhatDNSHasOpenIsOfThePodsShare(t *testing.T) {
	t.Parallel()
	r, share := newRigOfShare(t)
	client := r.client()
	for i := range 8 {
		askName(t, client, i)
	}
	client.CloseIdleConnections()
	await.True(t, "32 are for DNS", func() bool {
		for share.Take(t.Context()) {
		}
		held, _ := share.Usage()
		_, open := r.server.Connections(0)
		return held.Connections == 32 && open == 0
	})
	if share.Take(t.Context()) {
		t.Error("more than there is")
	}
	for range 32 {
		share.GiveBack()
	}
	if held, _ := share.Usage(); held.Connections != 0 {
		t.Errorf("%d are held by nobody", held.Connections)
	}
}
