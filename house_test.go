// Package sluice_test holds the house rules: what no single package can see.
package sluice_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/sluice-cni/sluice/"

// floors orders the top folders from the ground up. A package imports its own
// folder and lower floors only, so that reading one never leads upstairs.
var floors = map[string]int{
	"internal": 0,
	"cidr":     1, "vip": 1, "kubeapi": 1,
	"mesh": 2, "rules": 2,
	"proxy": 3, "holder": 3, "selection": 3,
	"plugin": 4, "sandbox": 4, "demo": 4, "agent": 4, "install": 4, "inject": 4,
	"cmd": 5, "deploy": 5, "e2e": 6, "bench": 6, "soak": 6, "": 7,
}

type listed struct {
	ImportPath, Doc  string
	Imports, GoFiles []string
}

func packages(t *testing.T) (all []listed) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func folder(path string) string {
	rest, _ := strings.CutPrefix(path+"/", module)
	top, _, _ := strings.Cut(rest, "/")
	return top
}

func TestImportsPointDownwards(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := folder(p.ImportPath)
		floor, known := floors[from]
		if !known {
			t.Errorf("%s: its folder has no floor; give it one in this test and a row in docs/architecture.md", p.ImportPath)
		}
		for _, path := range p.Imports {
			to := folder(path)
			if !strings.HasPrefix(path, module) || to == from || floors[to] < floor {
				continue
			}
			t.Errorf("%s imports %s: not a lower floor", p.ImportPath, path)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// Who looks for a package's place finds it.
func TestEachPackageIsInTheArchitecture(t *testing.T) {
	t.Parallel()
	page := pages(t)["docs/architecture.md"]
	for _, p := range packages(t) {
		path, ours := strings.CutPrefix(p.ImportPath, module)
		if ours && len(p.GoFiles) > 0 && !strings.Contains(page, "`"+path+"`") {
			t.Errorf("%s: has no row in docs/architecture.md", path)
		}
	}
}

// Each package keeps away from what belongs elsewhere.
func TestPackagesStayWithTheirSubject(t *testing.T) {
	t.Parallel()
	for _, rule := range []struct{ folder, refused, why string }{
		{"mesh", "net", "mesh opens no socket; only net/netip, net/url and the like"},
		{"mesh", "net/http", "mesh opens no socket"},
		{"proxy", "go.yaml.in/yaml/v3", "proxy parses no YAML"},
		{"rules", "github.com/containernetworking/cni/pkg/types", "rules knows nothing of CNI"},
		{"holder", module + "rules", "the holder hardly ever changes: it knows sockets, not what they are for"},
		{"holder", module + "mesh", "the holder hardly ever changes: it knows sockets, not what they are for"},
		{"holder", module + "proxy", "the holder hardly ever changes: it knows sockets, not what they are for"},
	} {
		for _, p := range packages(t) {
			if folder(p.ImportPath) != rule.folder {
				continue
			}
			for _, path := range p.Imports {
				if path == rule.refused {
					t.Errorf("%s imports %s: %s", p.ImportPath, path, rule.why)
				}
			}
		}
	}
}

// What is of Kubernetes ages at Kubernetes' pace, and weighs megabytes: one folder has it.
func TestOnlyKubeapiImportsKubernetes(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, path := range p.Imports {
			if strings.HasPrefix(path, "k8s.io/") && folder(p.ImportPath) != "kubeapi" {
				t.Errorf("%s imports %s: only kubeapi does (docs/decisions/0021-one-package-speaks-to-kubernetes.md)", p.ImportPath, path)
			}
		}
	}
}
