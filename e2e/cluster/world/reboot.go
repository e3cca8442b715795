package world

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/e2e/node/cgroups"
)

// Reboot is the node's loss of power and its next start: every process ends at once, and
// /run, mounts, rules and network namespaces are gone; what is on disks stays. It waits
// until the node is ready again. What pods do by then is for the caller to see.
func (w *World) Reboot() {
	w.t.Helper()
	parts := []string{"kubelet", "kube-proxy", "kube-controller-manager", "kube-scheduler", "kube-apiserver", "etcd", "containerd"}
	for _, name := range parts {
		w.Stop(name)
	}
	w.Eventually("every process has ended", killAll)
	off := time.Now().Truncate(time.Second).Add(time.Second)
	must(w.t, UnmountBelow("/run", w.dir, w.Containerd.Folder()))
	empty("/run")
	must(w.t, flushRules())
	w.Eventually("the pods' links are gone", func() error {
		links, err := net.Interfaces()
		for _, l := range links {
			if l.Name != "lo" && l.Name != "node0" {
				return fmt.Errorf("link %s is there", l.Name)
			}
		}
		return err
	})
	must(w.t, cgroups.Clear())

	must(w.t, os.MkdirAll(runtimeRun, 0o755))
	for _, name := range []string{"etcd", "kube-apiserver", "containerd", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"} {
		w.Start(name)
	}
	w.Eventually("the node says that it is ready", func() error {
		at, err := w.Kubectl("get", "node", NodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}`)
		if err != nil {
			return err
		}
		said, err := time.Parse(time.RFC3339, at)
		if err == nil && said.Before(off) {
			err = fmt.Errorf("it has last said so at %s", at)
		}
		return err
	})
	w.AwaitNode()
}

func flushRules() error {
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		return fmt.Errorf("nft flush ruleset: %w\n%s", err, out)
	}
	return nil
}

// killAll ends all processes of the world's but its first and this one, and says which are
// still there.
func killAll() error {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var left []string
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == 1 || pid == os.Getpid() || unix.Kill(pid, unix.SIGKILL) != nil {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		left = append(left, strings.TrimSpace(string(name)))
	}
	if len(left) > 0 {
		return fmt.Errorf("still there: %s", strings.Join(left, ", "))
	}
	return nil
}

// UnmountBelow takes away every mount beneath some folders, the last one first.
func UnmountBelow(folders ...string) error {
	content, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var at []string
	for line := range strings.Lines(string(content)) {
		at = append(at, strings.Fields(line)[1])
	}
	for i := len(at) - 1; i >= 0; i-- {
		for _, folder := range folders {
			if !strings.HasPrefix(at[i], folder+"/") {
				continue
			}
			// One that went together with another is no longer a mount.
			if err := unix.Unmount(at[i], unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("unmount %s: %w", at[i], err)
			}
		}
	}
	return nil
}
