package proxy

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// noted is a deadline that writes down what it was set to.
type noted struct {
	deadline
	mu  sync.Mutex
	set []time.Time
}

func (n *noted) note(t time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set = append(n.set, t)
	return nil
}

func TestADeadlineMovesOnlyWhenItHasTo(t *testing.T) {
	t.Parallel()
	var n noted
	n.deadline.set = n.note
	now := time.Now()
	for i := range 100 {
		n.within(now.Add(time.Duration(i)*time.Second), 100*time.Minute)
	}
	if len(n.set) != 1 {
		t.Errorf("set %d times", len(n.set))
	}
	limit := now.Add(time.Minute)
	n.cap(limit)
	n.within(now, time.Hour)
	n.at(time.Time{})
	if last := n.set[len(n.set)-1]; !last.Equal(limit) || n.capped(now) || !n.capped(limit) {
		t.Errorf("the cap %v was passed: %v", limit, last)
	}
}

func TestAWokenDeadlineStaysInThePastUntilItIsResumed(t *testing.T) {
	t.Parallel()
	var n noted
	n.deadline.set = n.note
	now := time.Now()
	n.within(now, time.Hour)
	n.wake()
	n.within(now, time.Minute) // a reader that comes late
	n.at(time.Time{})
	if last := n.set[len(n.set)-1]; !last.Equal(longAgo) {
		t.Errorf("undone: %v", last)
	}
	n.resume()
	n.within(now, time.Hour)
	if last := n.set[len(n.set)-1]; last.Before(now) {
		t.Errorf("still %v", last)
	}
}

// However slowly a head comes, its time is counted from its first byte.
func TestAHeadThatComesByteByByteGetsNoMoreTime(t *testing.T) {
	t.Parallel()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tcp, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	var n noted
	c := &connection{server: &Server{}, tcp: tcp}
	c.deadline.set = n.note
	h := &httpConn{c: c}
	read := make(chan bool)
	go func() { read <- h.readHead() }()
	for _, b := range []byte("GET / HTTP/1.1\r\nHost: a.test\r\nX: yyyyyyyyyyyyyyyyy\r\n\r\n") {
		if _, err := io.WriteString(client, string(b)); err != nil {
			t.Fatal(err)
		}
	}
	if !<-read {
		t.Fatal("the head was not read")
	}
	if len(n.set) > 2 { // waiting for a request, then for the rest of its head
		t.Errorf("the deadline moved %d times", len(n.set))
	}
}
