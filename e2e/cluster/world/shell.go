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

// Shell is an interactive bash on the node, with kubectl, helm and sluice in its PATH, at
// the test's own terminal. It returns when that ends.
func (w *World) Shell() {
	w.t.Helper()
	fmt.Printf(`
KUBECONFIG leads to this cluster; kubectl, helm and sluice are in PATH. The image
%s has bash and curl, and httpbin.org and www.google.com are acted. For example:
  kubectl label namespace default sluice.dev/inject=true
  kubectl create deployment sleep --image=%[1]s
  kubectl exec deployment/sleep -- curl -s -i http://httpbin.org/headers
Ctrl-D takes the cluster down.

`, App)
	path := filepath.Dir(node.Sluice())
	for _, dir := range []string{programs.Kubernetes(), filepath.Dir(programs.Helm())} {
		path += ":" + dir
	}
	settings := file(w.t, w.dir, "bashrc", "PS1='sluice:\\w\\$ '\nPATH=%s:$PATH\n", path)
	cmd := exec.Command("bash", "--rcfile", settings)
	// BASH_ENV: where the input is no terminal there is no rcfile.
	cmd.Env = daemon.Environment("HOME="+w.dir, "KUBECONFIG="+w.Kubeconfig(), "BASH_ENV="+settings)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// How it ends is how its last command did: nothing about the cluster.
	if err := cmd.Run(); cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
}
