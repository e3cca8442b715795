package iptables_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// without makes the machine's restore programs refuse rules that hold a word, the
// way they do on a kernel that lacks the module.
func without(t *testing.T, v iptables.Variant, word string) *iptables.Firewall {
	t.Helper()
	find(t, v)
	folder := t.TempDir()
	for _, family := range []string{"iptables-", "ip6tables-"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			name := family + string(v) + suffix
			real, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", real)
			if suffix == "-restore" {
				script = fmt.Sprintf("#!/bin/sh\ninput=$(cat)\ncase \"$input\" in *'%s'*) echo \"$0: line 2: no such module\" >&2; exit 1;; esac\nprintf '%%s\\n' \"$input\" | %s \"$@\"\n", word, real)
			}
			if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	return find(t, v)
}

func TestAHalfSupportedKernelIsReportedByTheExactMissingPiece(t *testing.T) {
	for word, tc := range map[string]struct{ setting, says string }{
		"-m owner":     {"exemptGIDs=0", "IPv4 users and groups (xt_owner) is missing"},
		"*nat":         {"exemptGIDs=", "IPv4 the nat table (iptable_nat) is missing"},
		"no such word": {"", ""},
		"-j CT":        {"dnsCapture=true", "conntrack zones (xt_CT, CONFIG_NF_CONNTRACK_ZONES) is missing"},
		"-m conntrack": {"exemptGIDs=", "connection tracking (xt_conntrack) is missing"},
	} {
		for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
			t.Run(word+"/"+string(v), func(t *testing.T) {
				fw := without(t, v, word)
				err := fw.Probe()
				if tc.says == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.Is(err, rules.ErrUnsupported) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("probe: %v", err)
				}
				ns := labtest.New(t)
				err = fw.Apply(ns.FD(), rulestest.Plan(t, tc.setting))
				if !errors.Is(err, rules.ErrUnsupported) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("apply: %v", err)
				}
				for _, other := range []string{"xt_mark", "xt_addrtype"} {
					if err != nil && strings.Contains(err.Error(), other) {
						t.Errorf("apply blames %s: %v", other, err)
					}
				}
			})
		}
	}
}

// A pod with hostUsers: false: its network belongs to a user namespace below ours.
func TestIDsInAPodWithUsersOfItsOwnAreRefusedWithTheReason(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		pod := exec.Command("sleep", "60")
		pod.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		if err := pod.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pod.Process.Kill(); pod.Wait() })
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pod.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := fw.Apply(int(ns.Fd()), rulestest.Plan(t, "exemptUIDs=0")); !errors.Is(err, rules.ErrUnsupported) || !strings.Contains(err.Error(), "hostUsers: false") {
			t.Errorf("with an id: %v", err)
		}
		if err := fw.Apply(int(ns.Fd()), rulestest.Plan(t)); err != nil {
			t.Errorf("without ids: %v", err)
		}
		if err := fw.Check(int(ns.Fd()), rulestest.Plan(t)); err != nil {
			t.Error(err)
		}
	})
}
