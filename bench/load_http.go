package main

import (
	"bytes"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const request = "GET /path HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

// httpLoad keeps connections busy with small requests from one thread.
type httpLoad struct {
	load
	poll      *epoll
	conns     []requestConn
	free      []int       // connections without a request under way
	backlog   []time.Time // due and without a connection
	timer     int
	started   time.Time
	ticks     int64
	done      int
	latencies []time.Duration
}

type requestConn struct {
	fd    int
	due   time.Time // when its request should have left
	in    [1024]byte
	n     int
	count int
}

// timerIndex marks the timer among the poller's events.
const timerIndex = -1

func (l load) http() error {
	h := &httpLoad{load: l, conns: make([]requestConn, l.Conns)}
	var err error
	if h.poll, err = newEpoll(); err != nil {
		return err
	}
	for i := range h.conns {
		if h.conns[i].fd, err = dialRaw(l.Address); err != nil {
			return err
		}
		if err := h.poll.add(h.conns[i].fd, i); err != nil {
			return err
		}
	}
	if err := h.warm(); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	h.done, h.latencies = 0, make([]time.Duration, 0, 1<<20)
	h.started = time.Now()
	if l.Rate > 0 {
		err = h.openLoop()
	} else {
		err = h.closedLoop(h.started.Add(l.Time))
	}
	if err != nil {
		return err
	}
	return report(h.done, time.Since(h.started), h.latencies)
}

// warm makes requests on all connections for a while, so that pools are filled.
func (h *httpLoad) warm() error {
	if err := h.closedLoop(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	for i := range h.conns { // let the last answers arrive
		for c := &h.conns[i]; c.count == 0 || !c.due.IsZero(); {
			if err := h.turn(nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// closedLoop sends the next request of a connection when the last was answered.
func (h *httpLoad) closedLoop(until time.Time) error {
	for i := range h.conns {
		if err := h.send(i, time.Now()); err != nil {
			return err
		}
	}
	again := func(i int, now time.Time) error {
		if now.Before(until) {
			return h.send(i, now)
		}
		return nil
	}
	for time.Now().Before(until) {
		if err := h.turn(again); err != nil {
			return err
		}
	}
	return nil
}

// openLoop sends requests by the clock. Latency counts from when a request was
// due, not from when there was a connection for it: waiting is part of it.
func (h *httpLoad) openLoop() error {
	interval := time.Duration(float64(time.Second) / h.Rate)
	var err error
	if h.timer, err = newTimer(interval); err != nil {
		return err
	}
	if err := h.poll.add(h.timer, timerIndex); err != nil {
		return err
	}
	for i := range h.conns {
		h.free = append(h.free, i)
	}
	again := func(i int, _ time.Time) error {
		if len(h.backlog) == 0 {
			h.free = append(h.free, i)
			return nil
		}
		due := h.backlog[0]
		h.backlog = h.backlog[1:]
		return h.send(i, due)
	}
	for time.Since(h.started) < h.Time {
		if err := h.turn(again); err != nil {
			return err
		}
	}
	return nil
}

func newTimer(interval time.Duration) (int, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	spec := unix.NsecToTimespec(interval.Nanoseconds())
	return fd, unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: spec, Value: spec}, nil)
}

// tick sends what has become due.
func (h *httpLoad) tick() error {
	var expired uint64
	if _, err := unix.Read(h.timer, unsafe.Slice((*byte)(unsafe.Pointer(&expired)), 8)); err != nil {
		return nil // nothing yet
	}
	interval := time.Duration(float64(time.Second) / h.Rate)
	for range expired {
		h.ticks++
		due := h.started.Add(time.Duration(h.ticks) * interval)
		if len(h.free) == 0 {
			h.backlog = append(h.backlog, due)
			continue
		}
		i := h.free[len(h.free)-1]
		h.free = h.free[:len(h.free)-1]
		if err := h.send(i, due); err != nil {
			return err
		}
	}
	return nil
}

// turn waits once and serves what is ready; again decides about a connection
// whose answer is complete.
func (h *httpLoad) turn(again func(int, time.Time) error) error {
	events, err := h.poll.wait(1000)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Fd == timerIndex {
			err = h.tick()
		} else {
			err = h.receive(int(e.Fd), again)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *httpLoad) send(i int, due time.Time) error {
	c := &h.conns[i]
	c.due, c.n = due, 0
	_, err := unix.Write(c.fd, requestBytes)
	return err
}

var (
	requestBytes = []byte(request)
	answerEnd    = []byte("hello, world\n")
	statusOK     = []byte("HTTP/1.1 200 ")
)

func (h *httpLoad) receive(i int, again func(int, time.Time) error) error {
	c := &h.conns[i]
	n, err := unix.Read(c.fd, c.in[c.n:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return errors.New("the proxy closed a connection: " + string(c.in[:c.n]))
	}
	c.n += n
	if !bytes.HasSuffix(c.in[:c.n], answerEnd) {
		if c.n == len(c.in) {
			return errors.New("not the expected answer: " + string(c.in[:c.n]))
		}
		return nil
	}
	if !bytes.HasPrefix(c.in[:c.n], statusOK) {
		return errors.New("not the expected answer: " + string(c.in[:c.n]))
	}
	now := time.Now()
	h.latencies = append(h.latencies, now.Sub(c.due))
	h.done++
	c.count++
	c.due = time.Time{}
	if again == nil {
		return nil
	}
	return again(i, now)
}
