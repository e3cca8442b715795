package apiserver

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
)

// Kubectl runs kubectl as Admin and gives what it wrote to its output; an error has what
// it wrote as errors.
func (s *Server) Kubectl(args ...string) (string, error) { return s.KubectlIn("", args...) }

// KubectlIn is Kubectl with something to read, as in `kubectl apply -f -`.
func (s *Server) KubectlIn(stdin string, args ...string) (string, error) {
	return s.Run(stdin, filepath.Join(programs.Kubernetes(), "kubectl"), args...)
}

// Run runs a program that is made for clusters, with KUBECONFIG set to Admin's and a home
// of its own, so that no setting of this machine's user counts and no cache stays.
func (s *Server) Run(stdin, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = daemon.Environment("HOME="+s.dir, "KUBECONFIG="+s.Kubeconfig())
	cmd.Stdin = strings.NewReader(stdin)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, errors.String())
	}
	return out.String(), nil
}

// Apply is `kubectl apply --server-side -f -` and must succeed.
func (s *Server) Apply(yaml string) {
	s.t.Helper()
	if _, err := s.KubectlIn(yaml, "apply", "--server-side", "-f", "-"); err != nil {
		s.t.Fatal(err)
	}
}
