package world

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/progress"
)

// Namespace is the one that Install puts sluice into.
const Namespace = "sluice-system"

// Install installs sluice by its chart, of this tree, and waits until it is ready. values
// are further ones as helm's --set takes them. Agents trust the internet's authority.
func (w *World) Install(values ...string) {
	w.t.Helper()
	w.helmMust("install", append([]string{"--create-namespace"}, set(values)...)...)
	w.installed()
	progress.Step(w.t, "sluice is installed by its chart")
}

// installed waits until sluice is ready. A test that fails shows what it said.
func (w *World) installed() {
	w.t.Helper()
	w.Rollout(Namespace, "daemonset/sluice-holder")
	w.Rollout(Namespace, "daemonset/sluice-agent")
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("sluice:\n%s\n%s", w.Describe(Namespace), w.logs())
		}
	})
}

// Upgrade is Install once more, with other values. It waits for nothing: a rollout takes as
// long as connections drain.
func (w *World) Upgrade(values ...string) {
	w.t.Helper()
	w.helmMust("upgrade", set(values)...)
}

// Template is what Install would have helm make of one template, its hooks too.
func (w *World) Template(name string) string {
	w.t.Helper()
	return w.helmMust("template", "--show-only", "templates/"+name)
}

func set(values []string) (flags []string) {
	for _, v := range values {
		flags = append(flags, "--set", v)
	}
	return flags
}

func (w *World) helmMust(verb string, flags ...string) string {
	w.t.Helper()
	repository, tag, _ := strings.Cut(Sluice, ":")
	args := []string{verb, "sluice", Chart(), "--namespace", Namespace,
		"--set", "image.repository=" + repository, "--set-string", "image.tag=" + tag, "--set", "image.pullPolicy=Never", "--set", "hostCABundle=" + w.authorities()}
	out, err := w.Helm(append(args, flags...)...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// authorities is a folder of the node with the internet's authority.
func (w *World) authorities() string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "authorities")
	must(w.t, os.MkdirAll(dir, 0o755))
	ca, err := os.ReadFile(w.Internet.CA)
	must(w.t, err)
	must(w.t, os.WriteFile(filepath.Join(dir, "ca-certificates.crt"), ca, 0o644))
	return dir
}

// logs are the ends of what sluice's own containers have logged.
func (w *World) logs() string {
	var all strings.Builder
	for _, c := range []string{"holder", "agent", "installer"} {
		set := "daemonset/sluice-agent"
		if c == "holder" {
			set = "daemonset/sluice-holder"
		}
		out, err := w.Kubectl("-n", Namespace, "logs", set, "-c", c, "--tail=40")
		fmt.Fprintf(&all, "-- %s (%v)\n%s\n", c, err, out)
	}
	return all.String()
}

// Chart is the folder of the chart with its definitions (CRDs).
func Chart() string { return filepath.Join(apart.Folder(), "chart") }
