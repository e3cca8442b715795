package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	realholder "github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"golang.org/x/sys/unix"
)

// startHolder runs the node's own holder in this process; holds asks it how many pods it
// has.
func startHolder(t testing.TB) (path string, holds func() int) {
	t.Helper()
	return startHolderIn(t, t.TempDir())
}

func startHolderIn(t testing.TB, dir string) (path string, holds func() int) {
	t.Helper()
	path = filepath.Join(dir, "holder.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- realholder.Run(ctx, realholder.Options{RunDir: dir, WaitLimit: 30 * time.Second, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	holds = func() (pods int) {
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		await.Silence(t, func() string {
			s, err := client.Status(ctx, path)
			if err != nil { // it is not there yet
				return err.Error()
			}
			pods = len(s.Pods)
			return ""
		})
		return pods
	}
	holds()
	return path, holds
}

// The process is killed before each of its steps, with a holder that stands for the
// node's and with the node's own. At no time are there rules without somebody who holds
// the sockets; ADD after it is as if nothing had happened, and DEL leaves nothing.
func TestKilledAtAnyStepAPodIsNeverCapturedUnheld(t *testing.T) {
	t.Parallel()
	for kind, verbs := range map[string][]string{"a fake holder": {"ADD"}, "the holder": {"ADD", "ADD again", "DEL", "CHECK"}} {
		for _, verb := range verbs {
			t.Run(kind+", "+verb, func(t *testing.T) {
				t.Parallel()
				var path string
				var holds func() int
				if kind == "the holder" {
					path, holds = startHolder(t)
				} else {
					h := newHolder(t, nil)
					path, holds = h.path, h.holds
				}
				testKilledWhileEnrolling(t, path, holds, verb)
			})
		}
	}
}

func testKilledWhileEnrolling(t *testing.T, path string, holds func() int, verb string) {
	ns := pod(t)
	stdin := conf(fmt.Sprintf(`"agentSocket":%q,"dnsCapture":true`, path))
	run := func(verb string) {
		t.Helper()
		call{verb: verb, netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	}
	steps := 0
	for {
		if verb != "ADD" {
			run("ADD")
		}
		finished := call{verb: strings.TrimSuffix(verb, " again"), netns: ns.Path(), stdin: stdin}.killedBefore(t, steps)
		captured := len(tables(t, ns)) > 0
		if captured {
			wholeOrFatal(t, ns.FD())
		}
		// DEL releases first: the pod's processes have ended by then. ADD again has to
		// release before it can bind the ports: what is captured is refused meanwhile.
		if captured && holds() == 0 && verb == "ADD" {
			t.Fatalf("step %d: captured, and nobody holds the sockets", steps)
		}
		if verb == "CHECK" && (!captured || holds() != 1) {
			t.Fatalf("step %d: CHECK changed something", steps)
		}
		run("ADD")
		run("CHECK")
		if holds() != 1 {
			t.Fatalf("step %d: %d held after ADD", steps, holds())
		}
		run("DEL")
		if left := tables(t, ns); len(left) > 0 || holds() != 0 {
			t.Fatalf("step %d: DEL left %v, %d held", steps, left, holds())
		}
		if finished {
			break
		}
		steps += stride(verb)
	}
	if steps < 5 {
		t.Errorf("only %d steps: the supervisor misses some", steps)
	}
	t.Logf("ended after %d steps", steps)
}

// wholeOrFatal holds the rules to their own record.
func wholeOrFatal(t testing.TB, netnsFD int) {
	t.Helper()
	applied, found, err := nft.Read(netnsFD)
	if err != nil || !found {
		t.Fatalf("half a ruleset: %v", err)
	}
	plan, err := rules.NewPlan(applied.Config, applied.Options()...)
	if err == nil {
		err = nft.Check(netnsFD, plan)
	}
	if err != nil {
		t.Fatal("half a ruleset: ", err)
	}
}

// A pod that starts while the node's holder is not there yet, or is just replaced, waits
// for it and starts.
func TestAnAddWaitsForTheHolderThatIsComing(t *testing.T) {
	t.Parallel()
	dir, ns := t.TempDir(), pod(t)
	stdin := conf(fmt.Sprintf(`"agentSocket":%q`, filepath.Join(dir, "holder.sock")))
	waits := call{verb: "ADD", netns: ns.Path(), stdin: stdin}
	ended := make(chan outcome, 1)
	go func() { ended <- waits.run(t) }()
	await.True(t, "its sockets are open, so it is about to ask", func() (listens bool) {
		if err := ns.Do(func() error {
			l, err := net.Listen("tcp", "127.0.0.1:15001")
			listens = errors.Is(err, unix.EADDRINUSE)
			if err == nil {
				l.Close()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return listens
	})
	_, holds := startHolderIn(t, dir)
	out := <-ended
	if out.succeeded(t); holds() != 1 {
		t.Errorf("%d held", holds())
	}
	enrolled(t, ns)
	call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
}

// What the node adds to an ADD is one short conversation. The fastest of many runs each
// are compared: the rest is other load on the machine.
func TestTheNodeCostsAnAddLittle(t *testing.T) {
	path, _ := startHolder(t)
	took := func(fields string) time.Duration {
		ns := pod(t)
		began := time.Now()
		call{verb: "ADD", netns: ns.Path(), stdin: conf(fields)}.run(t).succeeded(t)
		d := time.Since(began)
		call{verb: "DEL", netns: ns.Path(), stdin: conf(fields)}.run(t).succeeded(t)
		return d
	}
	// Both are measured by turns, so that what else the machine does meets both, and for as
	// long as it takes to see either undisturbed.
	alone, node := time.Hour, time.Hour
	more := func() time.Duration { return max(10*time.Millisecond, alone) } // a slow machine is slow at both
	for round := 0; round < 15 || node > alone+more() && round < 100; round++ {
		alone = min(alone, took(`"dnsCapture":true`))
		node = min(node, took(fmt.Sprintf(`"agentSocket":%q,"dnsCapture":true`, path)))
	}
	t.Logf("standalone %v, with the node's holder %v", alone, node)
	if node > alone+more() {
		t.Errorf("standalone %v, with the node's holder %v: more than %v", alone, node, more())
	}
}
