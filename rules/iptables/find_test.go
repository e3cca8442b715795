package iptables_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
)

// hostWith puts programs before the machine's own: their names and what they say to
// --version.
func hostWith(t *testing.T, names []string, says string) {
	t.Helper()
	folder := t.TempDir()
	for _, name := range names {
		for _, suffix := range []string{"", "-save", "-restore"} {
			for _, family := range []string{"iptables", "ip6tables"} {
				script := "#!/bin/sh\necho '" + says + "'\n"
				if err := os.WriteFile(filepath.Join(folder, family+name+suffix), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

func TestProgramsAreFoundByTheirNameAndJudgedByTheirVersion(t *testing.T) {
	hostWith(t, []string{"-legacy"}, "iptables v1.4.21")
	if fw, err := iptables.Find(iptables.Legacy); !errors.Is(err, rules.ErrUnsupported) {
		t.Errorf("1.4.21: %v, %v", fw, err)
	}
	hostWith(t, []string{"-legacy"}, "iptables v1.8.10 (legacy)")
	if fw, err := iptables.Find(iptables.Legacy); err != nil || fw.String()[:24] != "iptables 1.8.10 (legacy)" {
		t.Errorf("1.8.10: %v, %v", fw, err)
	}
	hostWith(t, []string{"-nft"}, "no version at all")
	if fw, err := iptables.Find(iptables.NFT); !errors.Is(err, rules.ErrUnsupported) {
		t.Errorf("a program that says nothing: %v, %v", fw, err)
	}
}
