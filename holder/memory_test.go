package holder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// A node's worth of pods, with DNS: seven descriptors each.
func TestFiveHundredPodsCostAFewMegabytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	holder := startProcess(t, dir, 0)
	holder.ready(t)
	empty := holder.memory(t)
	began := time.Now()
	for range 500 {
		p := newPod(t)
		p.hold(t, path)
		p.close()
	}
	held := time.Since(began)
	began = time.Now()
	a := openAgent(t, path, wire.HelloRequest{})
	a.serveAll(t)
	brought := time.Since(began)
	full := holder.memory(t)
	t.Logf("RssAnon %d KiB empty, %d KiB with 500 pods; made and held in %s, brought in %s; %d descriptors",
		empty, full, held, brought, holder.descriptors(t, ""))
	if full > 48<<10 { // 7 MiB, in fact; the race detector has six times as much
		t.Errorf("500 pods cost %d KiB", full-empty)
	}
	began = time.Now()
	startProcess(t, dir, 0).ready(t)
	<-holder.exited
	t.Logf("taken over in %s", time.Since(began))
	if n := len(status(t, path).Pods); n != 500 {
		t.Errorf("the new holder has %d pods", n)
	}
}

// memory is the process's own, in KiB: without the program's file.
func (p *process) memory(t testing.TB) (kib int) {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), "RssAnon:")
	if _, err := fmt.Sscanf(rest, "%d", &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
