// Command crds writes the custom resource definitions of the Istio kinds that sluice
// reads, from the istio.io/api module that go.mod names: what a cluster without Istio
// lacks. Nothing of it is kept in the repository.
//
//	go run ./deploy/crds -o bin/chart/sluice/crds   # a file each
//	go run ./deploy/crds -o - | kubectl apply --server-side -f -
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kinds are those that sluice reads, as their definitions are named.
var Kinds = []string{
	destinationRules,
	"serviceentries.networking.istio.io",
	"sidecars.networking.istio.io",
	"virtualservices.networking.istio.io",
}

func main() {
	out := flag.String("o", "-", "`DIR` to write a file each to, made where it is missing; - for standard output")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	all, err := fromModule()
	if err != nil {
		return err
	}
	found, err := Select(all)
	if err != nil {
		return err
	}
	if out == "-" {
		for _, name := range Kinds {
			if _, err := os.Stdout.Write(append([]byte("---\n"), found[name]...)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range Kinds {
		if err := os.WriteFile(filepath.Join(out, name+".yaml"), found[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fromModule is the file of all definitions, from Go's module cache.
func fromModule() ([]byte, error) {
	download := exec.Command("go", "mod", "download", "istio.io/api")
	if said, err := download.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go mod download istio.io/api: %w: %s", err, bytes.TrimSpace(said))
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api")
	list.Stderr = os.Stderr
	dir, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m istio.io/api: %w", err)
	}
	return os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "kubernetes", "customresourcedefinitions.gen.yaml"))
}

// labels are those of Istio's own release, which this is not: ours says by which
// definitions may be brought up to date, and which are Istio's. The annotation that
// keeps helm from deleting a definition, and with it everybody's resources, stays.
var labels = regexp.MustCompile(`(?m)^  labels:\n(?:    .*\n)+`)

const own = "  labels:\n    app.kubernetes.io/name: sluice\n"

// Select takes the definitions of Kinds out of a file of many, by name.
func Select(all []byte) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, document := range bytes.Split(all, []byte("\n---\n")) {
		var about struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal(document, &about); err != nil {
			return nil, err
		}
		if about.Kind == "CustomResourceDefinition" && slices.Contains(Kinds, about.Metadata.Name) {
			text := bytes.TrimPrefix(bytes.TrimSpace(document), []byte("---\n"))
			found[about.Metadata.Name] = append(labels.ReplaceAll(text, []byte(own)), '\n')
			if about.Metadata.Name == destinationRules {
				older, err := withOlderName(found[destinationRules])
				if err != nil {
					return nil, err
				}
				found[destinationRules] = older
			}
		}
	}
	var missing []error
	for _, name := range Kinds {
		if found[name] == nil {
			missing = append(missing, fmt.Errorf("definition %q: is not in istio.io/api any more; see what replaced it", name))
		}
	}
	return found, errors.Join(missing...)
}
