package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// The demo isolates itself, so these tests need no namespaces of their own.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		os.Exit(pluginThatDoesNothing())
	}
	_, err := sluicetest.Build()
	if err == nil {
		_, err = cnitest.Build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestEveryStepHappensAsExpected(t *testing.T) {
	t.Parallel()
	dir := install(t)
	for name, attr := range users(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := play(t, demoIn(dir, attr))
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, out)
			}
			last := lastLine(out)
			if !regexp.MustCompile(`^(\d+) steps, (\d+) as expected, 0 different \(\d+ s\)$`).MatchString(last) {
				t.Errorf("it ends with %q", last)
			}
			if strings.Contains(out, "\x1b[") {
				t.Error("there is color although nobody sees it")
			}
			for _, want := range thePage {
				if !strings.Contains(out, want) {
					t.Errorf("the page's %q is not typed", want)
				}
			}
		})
	}
}

// thePage is what the page has its readers type, our names for its programs apart.
var thePage = []string{
	"cat <<EOF | sluice create -f -",
	"curl http://httpbin.org/headers",
	"curl http://www.google.com:443",
	`time curl -o /dev/null -s -w "%{http_code}\n" http://httpbin.org/delay/5`,
	"cat cluster/config.yaml | grep service_cluster_ip_range",
	"--includeIPRanges=10.0.0.1/24",
	"--includeIPRanges=172.30.0.0/16,172.20.0.0/16,10.10.10.0/24",
	"--includeIPRanges=10.4.0.0/14,10.7.240.0/20",
	"--includeIPRanges=10.244.0.0/16,10.240.0.0/16",
	"sluice delete ServiceEntry httpbin-ext google-ext",
	"sluice delete destinationrule google-ext",
	"sluice delete virtualservice httpbin-ext",
}

func TestDemoPlaysWithoutCurl(t *testing.T) {
	t.Parallel()
	tools := t.TempDir()
	linkTools(t, tools)
	cmd := demoIn(install(t), nil)
	cmd.Env = append(cmd.Env, "PATH="+tools)
	if out, code := play(t, cmd); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestDemoPlaysWithACurlForHTTPOnly(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Log("no curl here: TestDemoPlaysWithoutCurl is all there is to try")
		return
	}
	tools := t.TempDir()
	linkTools(t, tools)
	script := "#!/bin/sh\ncase \"$*\" in --version) echo Protocols: http https;; *telnet*) exit 1;; *) exec " + curl + " \"$@\";; esac\n"
	if err := os.WriteFile(filepath.Join(tools, "curl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := demoIn(install(t), nil)
	cmd.Env = append(cmd.Env, "PATH="+tools)
	if out, code := play(t, cmd); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// linkTools makes dir a PATH with no more than the demo needs.
func linkTools(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"sh", "cat", "grep"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingPluginsAreNamed(t *testing.T) {
	t.Parallel()
	dir := install(t)
	for _, name := range []string{"sluice-cni", "cni/ptp"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	out, code := play(t, demoIn(dir, nil))
	for _, want := range []string{`plugin "sluice-cni"`, `plugin "ptp"`, "make build"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestDifferencesAreCountedAndFail(t *testing.T) {
	t.Parallel()
	dir := install(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "sluice-cni"), self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, code := play(t, demoIn(dir, nil))
	m := regexp.MustCompile(`(\d+) steps, (\d+) as expected, (\d+) different`).FindStringSubmatch(lastLine(out))
	if code != 1 || m == nil || m[3] == "0" || !strings.Contains(out, "✗ happened") {
		t.Errorf("exit code %d without rules\n%s", code, out)
	}
}

// pluginThatDoesNothing stands in for sluice-cni: it passes the result on.
func pluginThatDoesNothing() int {
	var conf struct {
		PrevResult json.RawMessage `json:"prevResult"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&conf); err != nil {
		return 1
	}
	if os.Getenv("CNI_COMMAND") == "ADD" {
		os.Stdout.Write(conf.PrevResult)
	}
	return 0
}

func TestForbiddenNamespacesAreExplained(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "echo 0 > /proc/sys/user/max_net_namespaces; exec "+filepath.Join(install(t), "sluice")+" demo")
	// The limit belongs to a user namespace of the test's own.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, code := play(t, cmd)
	if code != 1 || !strings.Contains(out, "may not make") || !strings.Contains(out, "hint: as root") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// toGroup stands for Ctrl-C: a terminal sends SIGINT to the whole process group.
const toGroup = syscall.Signal(0)

func TestStoppedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := install(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL, toGroup} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd := demoIn(dir, nil)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out := &waiter{text: "a slow answer", found: make(chan struct{})}
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-out.found:
			case <-time.After(await.Patience):
				t.Error("the slow step does not come")
			}
			began := time.Now()
			to := cmd.Process.Pid
			if sig == toGroup {
				to, sig = -to, syscall.SIGINT
			}
			syscall.Kill(to, sig)
			cmd.Wait()
			if took := time.Since(began); took > await.Patience/2 {
				t.Errorf("it ended after %v", took)
			}
			if sig != syscall.SIGKILL && cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("ended with %v", cmd.ProcessState)
			}
			noneLeft(t, dir)
		})
	}
}

func TestStepWaitsForEnter(t *testing.T) {
	t.Parallel()
	cmd := demoIn(install(t), nil)
	cmd.Args = append(cmd.Args, "--step")
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &waiter{text: "[Enter]", found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	<-out.found
	if strings.Contains(out.String(), "happened") {
		t.Error("the first step did not wait")
	}
	next := out.expect(" 2. ")
	io.WriteString(keys, "\n")
	select {
	case <-next:
	case <-time.After(await.Patience):
		t.Error("Enter does not go on")
	}
}

// install lays the programs out as `make build` does, where any user may run them.
func install(t *testing.T) string {
	t.Helper()
	program, plugins := sluicetest.File(), cnitest.Folder()
	dir, err := os.MkdirTemp("", "sluice-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{dir, filepath.Join(dir, "cni")} {
		os.MkdirAll(d, 0o755)
		os.Chmod(d, 0o755)
	}
	for from, to := range map[string]string{
		program:                              "sluice",
		filepath.Join(plugins, "sluice-cni"): "sluice-cni",
		filepath.Join(plugins, "ptp"):        "cni/ptp",
		filepath.Join(plugins, "host-local"): "cni/host-local",
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// users are who can run the demo here: root runs it as an ordinary user too.
func users(t *testing.T) map[string]*syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return map[string]*syscall.SysProcAttr{"ordinary user": nil}
	}
	const somebody = 64322
	return map[string]*syscall.SysProcAttr{
		"root":          nil,
		"ordinary user": {Credential: &syscall.Credential{Uid: somebody, Gid: somebody}},
	}
}

func demoIn(dir string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command(filepath.Join(dir, "sluice"), "demo")
	cmd.Dir, cmd.SysProcAttr = "/", attr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "HTTP_PROXY=http://192.0.2.99:1", "http_proxy=http://192.0.2.99:1")
	return cmd
}

func play(t *testing.T, cmd *exec.Cmd) (output string, code int) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
