package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// logLine is what is used of a line of the access log.
type logLine struct {
	Start        time.Time `json:"start_time"`
	Flags        string    `json:"response_flags"`
	Details      string    `json:"response_code_details"`
	ID           string    `json:"request_id"`
	UpstreamHost string    `json:"upstream_host"`
	Local        string    `json:"upstream_local_address"`
	Destination  string    `json:"downstream_local_address"`

	usedBefore time.Time // when the request before it on its upstream connection began, zero for the first
}

func (l logLine) upstream() netip.AddrPort {
	a, _ := netip.ParseAddrPort(l.UpstreamHost)
	return a
}

func (l logLine) beforeHeaders() bool {
	return strings.HasPrefix(l.Details, "upstream_reset_before_response_started")
}

// accessLog reads the proxy's access log as it grows, and has it opened anew before
// it is large: the old file goes when it has been read to its end.
type accessLog struct {
	path string

	mu      sync.Mutex
	lines   map[string][]logLine // by request id and by destination
	conns   map[[2]string]time.Time
	count   int
	rotated int
}

// The log's bounds.
const (
	rotateAt   = 16 << 20 // bytes
	lookEvery  = 200 * time.Millisecond
	keptFor    = 2 * time.Minute
	forgetConn = 15 * time.Minute
)

func newAccessLog(path string) *accessLog {
	return &accessLog{path: path, lines: map[string][]logLine{}, conns: map[[2]string]time.Time{}}
}

// find is the line of an exchange.
func (a *accessLog) find(e exchange) (logLine, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lines[e.id] {
		if e.web || !l.Start.Before(e.began.Truncate(time.Millisecond)) && !l.Start.After(e.ended) {
			return l, true
		}
	}
	return logLine{}, false
}

// follow reads until ctx ends, and then what is left.
func (a *accessLog) follow(ctx context.Context, proxy *os.Process) error {
	f, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	size, rest := int64(0), []byte(nil)
	for forgot := time.Now(); ; {
		ended := false
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		n, err := a.read(f, &rest)
		if err != nil || ended {
			return err
		}
		if size += n; size > rotateAt {
			if f, err = a.rotate(f, &rest, proxy); err != nil {
				return err
			}
			size = 0
		}
		if now := time.Now(); now.Sub(forgot) > keptFor/4 {
			forgot = now
			a.forget(now)
		}
	}
}

// rotate moves the file away, has the proxy open another, and reads the old one to
// its end, which has come when the new one is there.
func (a *accessLog) rotate(old *os.File, rest *[]byte, proxy *os.Process) (*os.File, error) {
	moved := a.path + ".1"
	if err := os.Rename(a.path, moved); err != nil {
		return old, err
	}
	proxy.Signal(syscall.SIGUSR1)
	var fresh *os.File
	for late := time.Now().Add(lineWithin); fresh == nil; {
		var err error
		if fresh, err = os.Open(a.path); err != nil {
			if time.Now().After(late) {
				return old, fmt.Errorf("the proxy does not open its access log anew: %w", err)
			}
			time.Sleep(lookEvery / 10)
		}
	}
	_, err := a.read(old, rest)
	old.Close()
	a.rotated++
	return fresh, joinRemove(err, moved)
}

func joinRemove(err error, path string) error {
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// read takes in what has been written since.
func (a *accessLog) read(f *os.File, rest *[]byte) (int64, error) {
	more, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	data := append(*rest, more...)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		line, after, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			*rest = bytes.Clone(data)
			return int64(len(more)), nil
		}
		data = after
		if err := a.take(line); err != nil {
			return 0, err
		}
	}
}

func (a *accessLog) take(text []byte) error {
	var l logLine
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("access log: %w in %q", err, text)
	}
	a.count++
	if l.ID != "" && l.Local != "" {
		key := [2]string{l.Local, l.UpstreamHost}
		l.usedBefore = a.conns[key]
		a.conns[key] = l.Start
	}
	switch {
	case l.ID == "":
		a.lines[l.Destination] = append(a.lines[l.Destination], l)
	case l.Flags != "-" || l.Details != "via_upstream":
		a.lines[l.ID] = append(a.lines[l.ID], l)
	}
	return nil
}

func (a *accessLog) forget(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, all := range a.lines {
		if now.Sub(all[len(all)-1].Start) > keptFor+longLife {
			delete(a.lines, id)
		}
	}
	for key, used := range a.conns {
		if now.Sub(used) > forgetConn {
			delete(a.conns, key)
		}
	}
}
