package plugin_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == withoutNFTables {
		execWithoutNFTables(os.Args[2:])
	}
	if len(os.Args) > 1 && os.Args[1] == stepwise {
		execStepwise(os.Args[2:])
	}
	if _, err := cnitest.Build(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	labtest.Main(m)
}

func binary() string { return filepath.Join(cnitest.Folder(), "sluice-cni") }

// outcome is what a run of the plugin left behind.
type outcome struct {
	stdout, stderr string
	code           int
}

// failure is a CNI error object.
type failure struct {
	CNIVersion string `json:"cniVersion"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details"`
}

// call is one run of the built plugin.
type call struct {
	verb, netns, stdin string
	env                []string
	prepare            func(*exec.Cmd)
	started            func(*os.Process)
	limit              time.Duration // then it is killed; default a minute
}

func (c call) run(t testing.TB) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(c.limit, await.Patience))
	defer cancel()
	cmd := exec.CommandContext(ctx, binary())
	cmd.Env = append([]string{"CNI_COMMAND=" + c.verb, "CNI_CONTAINERID=pod1", "CNI_IFNAME=eth0",
		"CNI_PATH=" + cnitest.Folder(), "CNI_NETNS=" + c.netns, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=a;SOMETHING=else"}, c.env...)
	cmd.Stdin = bytes.NewReader([]byte(c.stdin))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.prepare != nil {
		c.prepare(cmd)
	}
	err := cmd.Start()
	if err == nil {
		if c.started != nil {
			c.started(cmd.Process)
		}
		err = cmd.Wait()
	}
	if cmd.ProcessState == nil {
		if c.limit > 0 { // killed before it began
			return outcome{code: -1}
		}
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// failed reads the error object, which must be all there is on standard output.
func (o outcome) failed(t testing.TB) failure {
	t.Helper()
	var f failure
	d := json.NewDecoder(bytes.NewReader([]byte(o.stdout)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || o.code == 0 || d.More() {
		t.Fatalf("wanted one error object and a failure, got exit %d\nstdout %s\nstderr %s", o.code, o.stdout, o.stderr)
	}
	if f.CNIVersion == "" || f.Code == 0 || f.Msg == "" {
		t.Errorf("incomplete error object: %s", o.stdout)
	}
	return f
}

func (o outcome) succeeded(t testing.TB) {
	t.Helper()
	if o.code != 0 {
		t.Fatalf("exit %d\nstdout %s\nstderr %s", o.code, o.stdout, o.stderr)
	}
}

// pod makes a namespace with a path.
func pod(t testing.TB) *lab.Namespace {
	t.Helper()
	n, err := lab.NewAt(filepath.Join("/run/netns", fmt.Sprintf("pod-%d", time.Now().UnixNano())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

const previous = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.1.0.2/24","interface":0}],"dns":{}}`

// conf is a configuration in version 1.0.0 with a prevResult and the given
// fields, written as JSON members.
func conf(fields string) string {
	if fields != "" {
		fields += ","
	}
	return `{"cniVersion":"1.0.0","name":"net","type":"sluice-cni",` + fields + `"prevResult":` + previous + `}`
}
