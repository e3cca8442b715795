package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/progress"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
)

// terminal is bash as who reads the page would have it: kubectl speaks of the namespace,
// sluice is a command, and the samples are in the folder.
type terminal struct {
	*namespace
	environment []string
}

func (n *namespace) terminal() terminal {
	n.t.Helper()
	config := filepath.Join(n.home, "kubeconfig")
	data, err := os.ReadFile(n.kubeconfig)
	n.must(err)
	n.must(os.WriteFile(config, data, 0o600))
	sample := filepath.Join(n.home, "samples", "sleep", "sleep.yaml")
	n.must(os.MkdirAll(filepath.Dir(sample), 0o755))
	n.must(os.WriteFile(sample, []byte(Sleep(appImage())), 0o644))
	sluice := node.Sluice()
	if !filepath.IsAbs(sluice) { // nobody built it for a cluster
		sluice, err = sluicetest.Build()
		n.must(err)
	}
	path := filepath.Dir(sluice)
	if dir := programs.Kubernetes(); dir != "" {
		path += ":" + dir
	}
	t := terminal{n, daemon.Environment("HOME="+n.home, "KUBECONFIG="+config, "PATH="+path+":"+os.Getenv("PATH"))}
	_, err = t.line("kubectl config set-context --current --namespace=" + n.name)
	n.must(err)
	return t
}

// line runs one.
func (t terminal) line(line string) (string, error) {
	cmd := exec.Command("bash", "-c", line)
	cmd.Dir, cmd.Env = t.home, t.environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", line, err, out)
	}
	return string(out), err
}

// enter runs a line that must succeed.
func (t terminal) enter(line string) string {
	t.t.Helper()
	out, err := t.line(line)
	t.must(err)
	progress.Show("$ " + line + "\n" + strings.TrimSpace(out))
	return out
}

func (n *namespace) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}
