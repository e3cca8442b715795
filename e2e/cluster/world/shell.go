package world

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
)

// Shell is an interactive bash on the node, where sluice is installed, with kubectl and its
// plugin, helm, sluice and ctr in its PATH, at the test's own terminal. It returns when that
// ends.
func (w *World) Shell() {
	w.t.Helper()
	fmt.Printf(`
sluice is installed here by its chart, in namespace sluice-system, of the image %[2]s.
KUBECONFIG leads to this cluster; kubectl (kubectl sluice as well), helm, sluice and ctr are
in PATH, and images of your own come in by "ctr images import --local FILE". The image
%[1]s has bash and curl, and httpbin.org and www.google.com are acted. For example:
  kubectl label namespace default sluice.dev/inject=true
  kubectl create deployment sleep --image=%[1]s
  kubectl exec deployment/sleep -- curl -s -i http://httpbin.org/headers
Ctrl-D takes the cluster down.

`, App, Sluice)
	path := filepath.Dir(node.Sluice())
	for _, dir := range []string{programs.Kubernetes(), filepath.Dir(programs.Helm()), w.Containerd.Programs()} {
		path += ":" + dir
	}
	settings := file(w.t, w.dir, "bashrc", "PS1='sluice:\\w\\$ '\nPATH=%s:$PATH\n", path)
	cmd := exec.Command("bash", "--rcfile", settings)
	// BASH_ENV: where the input is no terminal there is no rcfile.
	cmd.Env = daemon.Environment("HOME="+w.dir, "KUBECONFIG="+w.Kubeconfig(), "BASH_ENV="+settings,
		"CONTAINERD_ADDRESS="+w.Containerd.Socket, "CONTAINERD_NAMESPACE=k8s.io")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// How it ends is how its last command did: nothing about the cluster.
	if err := cmd.Run(); cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
}
