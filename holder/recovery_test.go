package holder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// Nobody has the sockets any more: connections are refused, as long as it takes, and
// then wait as before.
func TestBothDieAndTheNextHolderListensAtTheSamePorts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	first := startProcess(t, dir, 0)
	p := newPod(t)
	p.hold(t, path)
	p.close()
	a := openAgent(t, path, wire.HelloRequest{Exemption: wire.ExemptByMark})
	a.serveAll(t)
	first.kill()
	a.end()
	for _, network := range []string{"tcp4", "tcp6"} {
		if c, err := p.connect(network); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("nobody is there, and %s gives %v, %v", network, c, err)
		}
	}
	startProcess(t, dir, 0).ready(t)
	waiting, err := p.connect("tcp6")
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	q := newPod(t)
	if reply := q.hold(t, path); reply.Exemption != wire.ExemptByMark {
		t.Errorf("what agents said of their exemption is forgotten: %+v", reply)
	}
	b := openAgent(t, path, wire.HelloRequest{})
	b.serveAll(t)
	if err := echo(waiting); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.pods[p.Netns]; got == nil || fmt.Sprint(got.Pod.Sockets) != fmt.Sprint(p.Sockets) || got.Pod.Pod != p.Holding.Pod {
		t.Errorf("the pod comes back as %+v", got)
	}
}

func TestWhatIsLeftOfADeadHolderIsLookedAtBeforeItIsBelieved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	first := startProcess(t, dir, 0)
	whole, torn, emptied, gone, replaced := newPod(t), newPod(t), newPod(t), newPod(t), newPod(t)
	for _, p := range []*pod{whole, torn, emptied, gone, replaced} {
		p.hold(t, path)
		p.close()
	}
	first.kill()
	files := filepath.Join(dir, podsDir)
	file := func(p *pod) string { return filepath.Join(files, p.Netns.String()+suffix) }
	content, err := os.ReadFile(file(torn))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		file(torn):    bytes.Replace(content, []byte(`"block"`), []byte(`"bypas`), 1),
		file(emptied): nil,
		filepath.Join(files, "left-over.json.tmp"): content,
		filepath.Join(files, "4-1.json"):           content, // another's
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone.unpin(t)
	replaced.unpin(t)
	other := newPod(t)
	if err := os.WriteFile(replaced.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(other.Path, replaced.Path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(replaced.Path, unix.MNT_DETACH) })

	second := startProcess(t, dir, 0)
	second.ready(t)
	if held := status(t, path).Pods; len(held) != 1 || held[0].Netns != whole.Netns || held[0].State != wire.StateWaiting {
		t.Errorf("held are %v", held)
	}
	wantFiles(t, dir, whole.Netns.String()+suffix)
	for _, p := range []*pod{torn, emptied, replaced, gone} {
		if log := second.log.String(); !strings.Contains(log, p.Netns.String()) {
			t.Errorf("the log does not tell of %s:\n%s", p.Netns, log)
		}
	}
}

// An agent that lived on gives back what the state files have lost.
func TestAnAgentKeepsWhatTheStateFilesLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	first := startProcess(t, dir, 0)
	p, q := newPod(t), newPod(t)
	p.hold(t, path)
	q.hold(t, path)
	p.close()
	q.close()
	a := openAgent(t, path, wire.HelloRequest{})
	a.serveAll(t)
	defer a.comeBack(t, path)()
	first.kill()
	if err := os.RemoveAll(filepath.Join(dir, podsDir)); err != nil {
		t.Fatal(err)
	}
	q.unpin(t) // its runtime took it down meanwhile, and could tell nobody
	startProcess(t, dir, 0).ready(t)
	await.True(t, "the pod is held again", func() bool {
		held := status(t, path).Pods
		return len(held) == 1 && held[0].Netns == p.Netns && held[0].State == wire.StateServed
	})
	await.True(t, "the agent knows that the other is gone", func() bool { return !a.has(q.Netns) })
	wantFiles(t, dir, p.Netns.String()+suffix)
	if err := roundTrip(p, "tcp4"); err != nil {
		t.Error(err)
	}
}

// An agent that died with its holder is no rival of the next one, and is not waited
// for; one that lives is, until it comes.
func TestADeadAgentIsForgottenAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	files := stateFiles{dir, map[string]bool{}}
	dead := startProcess(t, t.TempDir(), 0)
	who, err := lookAt(dead.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	dead.kill()
	living, err := lookAt(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	reused := living
	reused.Start++ // the number is another's by now
	for name, p := range map[string]wire.Process{"dead": who, "another": reused} {
		if isDead, known := isDead(p); !isDead || !known {
			t.Errorf("%s: dead %t, known %t", name, isDead, known)
		}
	}
	if isDead, known := isDead(living); isDead || !known {
		t.Errorf("who lives: dead %t, known %t", isDead, known)
	}
	if _, known := isDead(wire.Process{PID: who.PID, Start: who.Start, Namespace: 1}); known {
		t.Error("a number of another namespace says something here")
	}
	agent := func(id uint64, p wire.Process) wire.AgentInfo {
		return wire.AgentInfo{PID: p.PID, Process: p, Serving: true, Agents: wire.Agents{IDs: []uint64{id}}}
	}
	memory := core.Memory{Exemption: wire.ExemptByCgroup, Agents: []wire.AgentInfo{agent(1, who), agent(2, reused), agent(3, living)}}
	if err := makePrivate(dir); err != nil {
		t.Fatal(err)
	}
	if err := files.remember(memory); err != nil {
		t.Fatal(err)
	}
	_, log := startHere(t, Options{RunDir: dir})
	await.True(t, "the dead are forgotten", func() bool { return strings.Count(log.String(), "is dead") == 2 })
	a := openAgent(t, path, wire.HelloRequest{}) // after two seconds: the third may come yet
	if others := a.Welcome.Others; len(others) != 1 || others[0].Process != living {
		t.Errorf("others are %+v", others)
	}
}

func TestAPortThatThePodTookIsReplacedByAnother(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.close()
	thief, err := p.ns.Listen("tcp6", net.JoinHostPort("::1", port(p.Sockets[0].Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	b := &bundle{fds: []int{p.ns.FD()}, sockets: p.Sockets}
	if _, _, err := reopen(b, p.Holding, false); !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("the port is taken, and opening it gives %v", err)
	}
	fds, described, err := reopen(b, p.Holding, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(fds)
	h := p.Holding
	h.Sockets = described
	if err := inspect(&h, fds); err != nil || described[0].Port == p.Sockets[0].Port || len(described) != len(p.Sockets) {
		t.Errorf("%v %v", described, err)
	}
}

func TestAFullDiskIsSaidAndPodsAreHeldAllTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path, log := startHere(t, Options{RunDir: dir})
	before, during, after := newPod(t), newPod(t), newPod(t)
	before.hold(t, path)
	full := filepath.Join(dir, "full")
	if err := os.WriteFile(full, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	during.hold(t, path)
	if s := status(t, path); len(s.Pods) != 2 || s.Counters["unwritten_state_files"] != 1 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(log.String(), "no space left") {
		t.Errorf("the log does not say so:\n%s", log)
	}
	wantFiles(t, dir, before.Netns.String()+suffix)
	before.release(t, path)
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	after.hold(t, path)
	wantFiles(t, dir, after.Netns.String()+suffix)
}

func TestWithoutDescriptorsLeftAHoldIsRefusedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	holder := startProcess(t, dir, 0)
	holder.ready(t)
	few := unix.Rlimit{Cur: 200, Max: 200} // a quarter is kept
	if err := unix.Prlimit(holder.cmd.Process.Pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	var held []*pod
	for {
		p := newPod(t)
		_, err := client.Hold(context.Background(), path, p.Holding, p.files)
		if err == nil {
			held = append(held, p)
			continue
		}
		var refusal *wire.Refusal
		if !errors.As(err, &refusal) || refusal.Code != wire.CodeFull || !strings.Contains(refusal.Text, "LimitNOFILE") {
			t.Fatalf("after %d pods: %v", len(held), err)
		}
		break
	}
	if n := len(status(t, path).Pods); n != len(held) || n != 21 {
		t.Errorf("%d are held, %d were", n, len(held))
	}
	held[0].release(t, path)
	newPod(t).hold(t, path)
}

// Pods come and go, agents too: in the end the holder has as many descriptors as in
// the beginning.
func TestNothingIsLeftOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	holder := startProcess(t, dir, 0)
	holder.ready(t)
	round := func() {
		a := openAgent(t, path, wire.HelloRequest{})
		var held []*pod
		for range 20 {
			p := newPod(t)
			p.hold(t, path)
			p.hold(t, path) // the answer was lost
			held = append(held, p)
		}
		a.serveAll(t)
		for i, p := range held {
			if i%2 == 0 {
				p.release(t, path)
			} else {
				p.unpin(t)
			}
			p.close()
		}
		await.True(t, "nothing is held", func() bool { return len(status(t, path).Pods) == 0 })
		a.end()
		await.True(t, "no agent is there", func() bool { return len(status(t, path).Agents) == 0 })
	}
	round() // what is opened once, as for watching, is open now
	sockets, namespaces := holder.descriptors(t, "socket:["), holder.descriptors(t, "net:[")
	round()
	await.True(t, "as many sockets are open as before", func() bool { return holder.descriptors(t, "socket:[") <= sockets })
	if n := holder.descriptors(t, "net:["); n > namespaces || namespaces > 0 {
		t.Errorf("%d namespaces are open, %d were", n, namespaces)
	}
}
