package plugin_test

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/selection"
)

// holder stands for the node's: it takes what is given, and answers as it is told.
type holder struct {
	t      testing.TB
	path   string
	l      *net.UnixListener
	reply  wire.HeldReply
	onHold func(wire.Holding, wire.Message)                 // before the answer; may be nil
	answer func(c *wire.Conn, raw net.Conn, m wire.Message) // in place of the usual answers; may be nil
	wg     sync.WaitGroup

	mu       sync.Mutex
	held     map[string]wire.Message // by container and interface
	holdings []wire.Holding
	released []wire.Releasing
}

// newHolder starts one that says that an agent is there.
func newHolder(t testing.TB, change func(*holder)) *holder {
	t.Helper()
	h := &holder{t: t, path: filepath.Join(t.TempDir(), "holder.sock"), reply: wire.HeldReply{Agent: true, Exemption: wire.ExemptByCgroup}, held: map[string]wire.Message{}}
	if change != nil {
		change(h)
	}
	var err error
	if h.l, err = net.ListenUnix("unix", &net.UnixAddr{Name: h.path, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	h.wg.Go(h.run)
	t.Cleanup(h.close)
	return h
}

func (h *holder) close() {
	h.l.Close()
	h.wg.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.held {
		m.Close()
	}
	clear(h.held)
}

func (h *holder) run() {
	for {
		raw, err := h.l.AcceptUnix()
		if err != nil {
			return
		}
		h.wg.Go(func() { h.serve(raw) })
	}
}

func (h *holder) serve(raw *net.UnixConn) {
	c := wire.NewConn(raw)
	defer c.Close()
	m, err := c.Receive(time.Now().Add(await.Patience))
	if err != nil {
		return // the plugin was killed, or gave up
	}
	if h.answer != nil {
		defer m.Close()
		h.answer(c, raw, m)
		return
	}
	switch m.Kind {
	case wire.Hold:
		h.hold(c, m)
	case wire.Release:
		h.release(c, m)
	case wire.Status:
		c.Send(wire.Status, h.status())
	}
}

func (h *holder) hold(c *wire.Conn, m wire.Message) {
	var holding wire.Holding
	if err := m.Into(&holding); err != nil {
		h.t.Error(err)
		m.Close()
		return
	}
	if h.onHold != nil {
		h.onHold(holding, m)
	}
	key := holding.ContainerID + "/" + holding.Interface
	h.mu.Lock()
	if before, again := h.held[key]; again {
		before.Close()
	}
	h.held[key] = m
	h.holdings = append(h.holdings, holding)
	h.mu.Unlock()
	c.Send(wire.Held, h.reply)
}

func (h *holder) release(c *wire.Conn, m wire.Message) {
	var r wire.Releasing
	if err := m.Into(&r); err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	for key, m := range h.held {
		if container, ifname, _ := strings.Cut(key, "/"); container == r.ContainerID && (r.Interface == "" || ifname == r.Interface) {
			m.Close()
			delete(h.held, key)
		}
	}
	h.released = append(h.released, r)
	h.mu.Unlock()
	c.Send(wire.Released, nil)
}

func (h *holder) status() (s wire.HolderStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.held {
		var holding wire.Holding
		m.Into(&holding)
		s.Pods = append(s.Pods, wire.PodStatus{Netns: holding.Netns, Attachment: holding.Attachment})
	}
	return s
}

// holds is how many pods are held now.
func (h *holder) holds() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// said is what the holder was told so far.
func (h *holder) said() (held []wire.Holding, released []wire.Releasing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.holdings), slices.Clone(h.released)
}

// last is the newest pod that was held.
func (h *holder) last() (wire.Holding, wire.Message) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.holdings) == 0 {
		h.t.Fatal("nothing was held")
	}
	of := h.holdings[len(h.holdings)-1]
	return of, h.held[of.ContainerID+"/"+of.Interface]
}

func (h *holder) document() (d selection.Document) {
	h.t.Helper()
	holding, _ := h.last()
	if err := json.Unmarshal(holding.Document, &d); err != nil {
		h.t.Fatal(err)
	}
	return d
}

// fields are those of a configuration whose pods the holder takes.
func (h *holder) fields(more string) string {
	fields := fmt.Sprintf(`"agentSocket":%q`, h.path)
	if more != "" {
		fields += "," + more
	}
	return fields
}
