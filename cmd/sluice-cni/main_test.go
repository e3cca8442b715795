package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The runtime executes this program two or three times per pod, so it links
// nothing it does not need.
func TestTheBinaryLinksNothingHeavy(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		for _, heavy := range []string{"k8s.io/", "github.com/spf13/", "google.golang.org/protobuf", "istio.io/", "github.com/miekg/dns", "net/http", "github.com/sluice-cni/sluice/mesh", "github.com/sluice-cni/sluice/proxy"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("links %s", dep)
			}
		}
	}
}

func TestTheStrippedBinaryIsSmallAndStatic(t *testing.T) {
	out := filepath.Join(t.TempDir(), "sluice-cni")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 8<<20 {
		t.Errorf("%d bytes; the limit is 8 MiB", info.Size())
	}
}
