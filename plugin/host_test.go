package plugin_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// wrap runs the plugin as on a kernel without nf_tables.
func wrap(cmd *exec.Cmd) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd.Args = append([]string{self, withoutNFTables}, cmd.Args...)
	cmd.Path = self
}

func TestAKernelWithoutNFTablesIsNamed(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"ADD", "CHECK"} {
		f := call{verb: verb, netns: pod(t).Path(), stdin: conf(`"backend":"nft"`), prepare: wrap}.run(t).failed(t)
		if f.Code != 101 || !strings.Contains(f.Details, "nf_tables") {
			t.Errorf("%s: %+v", verb, f)
		}
	}
	status := `{"cniVersion":"1.1.0","name":"net","type":"sluice-cni","backend":"nft"}`
	if f := (call{verb: "STATUS", stdin: status, prepare: wrap}).run(t).failed(t); f.Code != 50 || !strings.Contains(f.Details, "nf_tables") {
		t.Errorf("STATUS: %+v", f)
	}
}

func TestAnOrdinaryUserIsToldToBeRoot(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	ns := pod(t)
	for _, verb := range []string{"ADD", "CHECK"} {
		f := call{verb: verb, netns: ns.Path(), stdin: conf(""), prepare: asNobody(t)}.run(t).failed(t)
		if f.Code != 100 || !strings.Contains(f.Details, "needs root") {
			t.Errorf("%s: %+v", verb, f)
		}
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// asNobody runs the plugin as an ordinary user, where there is one.
func asNobody(t testing.TB) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		if lab.OwnUserNamespace() {
			return
		}
		copied := filepath.Join("/run", fmt.Sprintf("sluice-cni-%d", time.Now().UnixNano())) // the cache may be root's alone
		// cp, not os.WriteFile: a test that forks meanwhile would inherit the
		// descriptor that is open for writing, and exec would say "text file busy".
		if out, err := exec.Command("cp", binary(), copied).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Chmod(copied, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(copied) })
		cmd.Path = copied
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}
