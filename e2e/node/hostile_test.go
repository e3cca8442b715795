package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// Whoever speaks nonsense at the holder's socket is cut off and told of in the log; pods
// come up all the same.
func TestHostilePeersAtTheHolder(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	header := func(version, kind byte, length uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{'S', 'L', 'U', version, kind, 0, 0, 0}, length)
	}
	peers := map[string][]byte{
		"garbage":                bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100),
		"half a header":          []byte("SLU"),
		"a header alone":         header(wire.Version, byte(wire.Hold), 100),
		"more than there may be": header(wire.Version, byte(wire.Hold), 1<<31),
		"another version":        header(99, byte(wire.Hold), 0),
		"JSON that is none":      append(header(wire.Version, byte(wire.Hold), 3), "{{{"...),
		"a pod without sockets":  append(header(wire.Version, byte(wire.Hold), 2), "{}"...),
		"an unknown kind":        header(wire.Version, 200, 0),
	}
	if *full { // those who say nothing have ten seconds
		for i := range 200 {
			peers[fmt.Sprintf("crowd %d", i)] = nil
		}
	}
	open := map[string]net.Conn{}
	for name, says := range peers {
		c, err := net.Dial("unix", filepath.Join(n.RunDir, "holder.sock"))
		must(t, err)
		defer c.Close()
		c.Write(says) // may fail halfway: it is cut off
		open[name] = c
	}
	p := makePods(t, n, 2)
	// As a kubelet does, until those who say nothing make room.
	for _, each := range p {
		await.True(t, "a pod comes up", func() bool { return each.Add() == nil })
	}
	allGoverned(t, p)
	each(t, p, 2, (*stage.Pod).Delete)
	for name, c := range open {
		c.SetDeadline(time.Now().Add(patience))
		for {
			_, err := c.Read(make([]byte, 4096))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: was not cut off", name)
			}
			if err != nil {
				break
			}
		}
	}
	t.Run("another user", func(t *testing.T) {
		cmd := (&stage.Pod{}).Command("connect", filepath.Join(n.RunDir, "holder.sock"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
			t.Errorf("it was let in: %v %s", err, out)
		}
	})
	n.GivenBack(before)
	if log := n.Holder.Log(); strings.Count(log, "\n") > 200 {
		t.Errorf("the holder's log has %d lines:\n%.2000s", strings.Count(log, "\n"), log)
	}
}

// What a pod's author got wrong fails that pod, with words worth an Event, or lets it
// pass where the policy says so; its neighbours never notice.
func TestMalformedAnnotationsFailTheirOwnPod(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		n := stage.New(t, stage.Options{})
		n.Policy("namespaces:\n  lenient:\n    onInvalid: pass\n")
		n.StartHolder()
		c := runtimeOf(t, n, r)
		n.StartAgent()
		before := baseline(t, n)
		bad := map[string]string{"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/33,ä\x01"}

		good := c.Pod(containerd.PodSpec{Name: "good"})
		_, err := c.TryPod(containerd.PodSpec{Name: "bad", Annotations: bad})
		if err == nil || !strings.Contains(err.Error(), "includeOutboundIPRanges") || !strings.Contains(err.Error(), "10.0.0.0/33") {
			t.Errorf("a malformed annotation: %v; want an error that names it and its value", err)
		}
		passed := c.Pod(containerd.PodSpec{Namespace: "lenient", Name: "passed", Annotations: bad})
		if got := reach(t, passed, stage.Web); !strings.HasPrefix(got, "200 ") {
			t.Errorf("a pod that the policy lets pass: %q", got)
		}
		later := c.Pod(containerd.PodSpec{Name: "later"})
		for _, p := range []*containerd.Pod{good, later} {
			if got := reach(t, p, stage.Web); !strings.HasPrefix(got, "502 ") {
				t.Errorf("pod %s, an unregistered host: %q, want the proxy's 502", p.Spec.Name, got)
			}
		}
		for _, p := range []*containerd.Pod{good, passed, later} {
			must(t, p.Remove())
		}
		n.GivenBack(before)
	})
}

// reach asks an address for a page under a name that nobody registered, from a
// container of the pod.
func reach(t *testing.T, p *containerd.Pod, address string) string {
	t.Helper()
	app, err := p.Container("app", containerd.Capabilities{})
	must(t, err)
	o, err := p.Run(app, "incontainer", "get", "http://"+address+"/", "other.example")
	must(t, err)
	return o.Out + o.Err
}
