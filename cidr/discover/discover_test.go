package discover_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sluice-cni/sluice/cidr/discover"
)

var update = flag.Bool("update", false, "write the wanted findings anew")

// Each file of testdata is an input; what is found in it stands in testdata/want.
func TestEveryFormIsRead(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/*.*")
	if err != nil || len(inputs) < 20 {
		t.Fatal(inputs, err)
	}
	for _, path := range inputs {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		got := describe(discover.Read(name, data))
		wanted := filepath.Join("testdata", "want", name+".txt")
		if *update {
			if err := os.WriteFile(wanted, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wanted)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got; -update writes it anew):\n%s", name, diff)
		}
	}
}

func describe(found discover.Findings, err error) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", f.Prefix, f.Kind, f.Form, f.Source, f.Notice)
	}
	fmt.Fprintf(&b, "ranges: %s\n", found.Of(discover.DefaultKinds()...).Ranges())
	for _, j := range found.Joins() {
		fmt.Fprintf(&b, "%s: %v\n", j.Range, j.Of)
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

func TestProvidersHaveTheRangesPeopleKnow(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"minikube": "10.0.0.0/24", "icp": "10.0.0.0/24", "IKS": "10.10.10.0/24,172.20.0.0/16,172.30.0.0/16",
		"gke": "10.4.0.0/14", "acs": "10.240.0.0/16,10.244.0.0/16", "ibm-cloud-private": "10.0.0.0/24",
	} {
		p, err := discover.ProviderNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Findings().Ranges().String(); got != want || p.How == "" {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if _, err := discover.ProviderNamed("mars"); err == nil || !strings.Contains(err.Error(), "minikube, icp, iks, gke, acs") {
		t.Error(err)
	}
	minikube, _ := discover.ProviderNamed("minikube")
	if f := minikube.Findings(); f[0].Written != "10.0.0.1/24" || !strings.Contains(f[0].Notice, "host bits") {
		t.Errorf("%+v", f)
	}
}

func TestUnknownInputIsToldFromBadInput(t *testing.T) {
	t.Parallel()
	for text, unknown := range map[string]bool{"hello": true, "a: b": true, "[]": true, "clusterIpv4Cidr: nonsense\n": false, "--cluster-cidr=300.0.0.0/8": false} {
		_, err := discover.Read("stdin", []byte(text))
		if err == nil || errors.Is(err, discover.ErrUnknown) != unknown {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAByteOrderMarkIsNoPartOfTheFirstName(t *testing.T) {
	t.Parallel()
	found, err := discover.Read("stdin", []byte("\xef\xbb\xbfclusterIpv4Cidr: 10.4.0.0/14\r\nservicesIpv4Cidr: 10.7.240.0/20\r\n"))
	if err != nil || len(found) != 2 {
		t.Error(found, err)
	}
}

func TestKindsSelect(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/nodes.json")
	if err != nil {
		t.Fatal(err)
	}
	found, err := discover.Read("nodes.json", data)
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[discover.Kind]string{
		discover.Nodes: "192.0.2.11/32,192.0.2.12/32,2001:db8::11/128", discover.Services: "",
		discover.Pods: "10.244.1.0/24,10.244.2.0/24,fd00:10:244:1::/64",
	} {
		if got := found.Of(kind).Ranges().String(); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	inputs, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range inputs {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := discover.Read("stdin", data)
		if (err == nil) != (len(found) > 0) {
			t.Errorf("%d findings and %v", len(found), err)
		}
		found.Joins()
	})
}
