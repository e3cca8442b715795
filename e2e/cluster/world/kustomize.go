package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/internal/built"
)

// Overlay writes a kustomization as its user writes one into a folder: of another, which is
// named as seen from there, with an image's name and tag, and with more in its file.
func Overlay(dir, of, image, more string) error {
	repository, tag, _ := strings.Cut(image, ":")
	text := fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%s]
images: [{name: sluice, newName: %s, newTag: "%s"}]
%s`, of, repository, tag, more)
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644))
}

// Trusting is what an Overlay has more to mount a folder of the node over the authorities in
// the image, as the chart's hostCABundle does.
func Trusting(folder string) string {
	return fmt.Sprintf(`patches:
- patch: |
    apiVersion: apps/v1
    kind: DaemonSet
    metadata: {name: sluice-agent, namespace: sluice-system}
    spec:
      template:
        spec:
          containers: [{name: agent, volumeMounts: [{name: authorities, mountPath: /etc/ssl/certs, readOnly: true}]}]
          volumes: [{name: authorities, hostPath: {path: %s, type: Directory}}]
`, folder)
}

// InstallByKustomize is Install by `kubectl apply -k`.
func (w *World) InstallByKustomize() {
	w.t.Helper()
	w.Must("apply", "--server-side", "-f", filepath.Join(Chart(), "crds"))
	w.Must("apply", "-k", w.Kustomization("base", Trusting(w.authorities())))
	w.installed()
}

// UninstallByKustomize types what deploy/kustomize/uninstall says, with kustomizations of
// one's own in place of those that it names.
func (w *World) UninstallByKustomize() {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(kustomize(), "uninstall", "kustomization.yaml"))
	must(w.t, err)
	typed := 0
	for line := range strings.Lines(string(text)) {
		command, is := strings.CutPrefix(strings.TrimSpace(line), "#   kubectl ")
		if !is {
			continue
		}
		args := strings.Fields(command)
		for i, arg := range args {
			if of, is := strings.CutPrefix(arg, "deploy/kustomize/"); is {
				args[i] = w.Kustomization(of, "")
			}
		}
		if _, err := w.Kubectl(args...); err != nil {
			w.t.Fatalf("%v\n%s", err, w.Describe(Namespace))
		}
		typed++
	}
	if typed == 0 {
		w.t.Fatal("deploy/kustomize/uninstall says nothing to type")
	}
}

// Kustomization is a folder for `kubectl apply -k`: of deploy/kustomize's base or
// uninstall with the name that the image has here, and with more in its file.
func (w *World) Kustomization(of, more string) string {
	w.t.Helper()
	all := filepath.Join(w.dir, "kustomize")
	if _, err := os.Stat(all); err != nil {
		must(w.t, os.CopyFS(all, os.DirFS(kustomize())))
	}
	dir := filepath.Join(all, "site-"+of)
	must(w.t, Overlay(dir, "../"+of, Sluice, more))
	return dir
}

// kustomize is the folder of deploy/kustomize's copy.
func kustomize() string { return filepath.Join(apart.Folder(), "kustomize") }

func copyKustomize(dir string) error {
	root, err := built.Root()
	if err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(filepath.Join(root, "deploy", "kustomize")))
}
