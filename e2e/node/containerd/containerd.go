package containerd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/cri/unary"
	"github.com/sluice-cni/sluice/e2e/node/programs"
)

// Containerd is a running containerd.
type Containerd struct {
	Version                    string
	Socket, ConfDir, PluginDir string
	CgroupParent               string // of all containers

	t        testing.TB
	programs programs.Runtime
	root     string
	config   string
	client   *unary.Client
	process  *exec.Cmd
	log      *os.File
}

// Start starts containerd with CNI plugins and configuration from the folders given,
// and imports the image. cgroupParent, as in /sluice-e2e/7, is where containers go in
// every cgroup hierarchy. It ends with the test; what the test left running in it is
// removed first.
func Start(t testing.TB, r programs.Runtime, pluginDir, confDir, cgroupParent string) *Containerd {
	t.Helper()
	// Not below the test's folder: the name of a socket has 104 bytes with all that
	// containerd appends, and the folder for temporary files may be deep.
	run, err := os.MkdirTemp("/run", "containerd-")
	must(t, err)
	return StartAt(t, r, run, pluginDir, confDir, cgroupParent)
}

// StartAt is Start with a folder below /run, which is made, for the socket and for what
// does not outlive a boot.
func StartAt(t testing.TB, r programs.Runtime, run, pluginDir, confDir, cgroupParent string) *Containerd {
	t.Helper()
	c := &Containerd{
		Version: r.Version, ConfDir: confDir, PluginDir: pluginDir, CgroupParent: cgroupParent,
		t: t, programs: r, root: t.TempDir(),
	}
	must(t, os.MkdirAll(run, 0o755))
	t.Cleanup(func() { os.RemoveAll(run) })
	c.Socket = filepath.Join(run, "containerd.sock")
	c.config = filepath.Join(c.root, "config.toml")
	c.client = unary.New(c.Socket)
	var config bytes.Buffer
	s := settings{Root: c.root, State: filepath.Join(run, "state"), Socket: c.Socket, Runc: r.Runc, PluginDir: pluginDir, ConfDir: confDir, Image: Image}
	must(t, configurations[second(r.Version)].Execute(&config, s))
	must(t, os.WriteFile(c.config, config.Bytes(), 0o644))
	must(t, os.Mkdir(filepath.Join(c.root, "tmp"), 0o755))
	log, err := os.Create(filepath.Join(c.root, "log"))
	must(t, err)
	c.log = log
	t.Cleanup(c.end)
	c.Run()
	c.importImage()
	return c
}

// Run starts the daemon, at first or after Kill, and waits until it answers.
func (c *Containerd) Run() {
	c.t.Helper()
	c.process = exec.Command(filepath.Join(c.programs.Folder, "containerd"), "-c", c.config)
	c.process.Stdout, c.process.Stderr = c.log, c.log
	c.process.Env = append(os.Environ(), "TMPDIR="+filepath.Join(c.root, "tmp"),
		"PATH="+c.programs.Folder+":"+filepath.Dir(c.programs.Runc)+":"+os.Getenv("PATH"))
	// A session of its own: a signal to the test's group is not for the runtime.
	c.process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(c.t, c.process.Start())
	c.eventually("containerd answers", func(ctx context.Context) error {
		_, err := c.client.Call(ctx, "runtime.v1.RuntimeService/Version", nil)
		return err
	})
}

// Kill ends the daemon at once. Shims, containers and sandboxes stay.
func (c *Containerd) Kill() {
	c.t.Helper()
	must(c.t, c.process.Process.Kill())
	c.process.Wait()
	c.process = nil
}

// Folder is where it keeps what outlives a boot.
func (c *Containerd) Folder() string { return c.root }

// Programs is the folder that it runs from, in which is ctr.
func (c *Containerd) Programs() string { return c.programs.Folder }

// PID is the daemon's process.
func (c *Containerd) PID() int { return c.process.Process.Pid }

func (c *Containerd) importImage() {
	c.t.Helper()
	image := filepath.Join(c.root, "image.tar")
	must(c.t, writeImage(image, programs.InContainer(), programs.Attempts()))
	must(c.t, c.Import(image))
}

// Import makes the images of an archive known, as docker's `save` writes them.
func (c *Containerd) Import(archive string) error {
	args := []string{"-a", c.Socket, "-n", "k8s.io", "images", "import", archive}
	if second(c.Version) {
		args = slices.Insert(args, 6, "--local") // its transfer service has no snapshotter to unpack into
	}
	if out, err := exec.Command(filepath.Join(c.programs.Folder, "ctr"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("import %s: %w\n%s", archive, err, out)
	}
	return nil
}

// Log is what the daemon has logged.
func (c *Containerd) Log() string {
	content, err := os.ReadFile(c.log.Name())
	must(c.t, err)
	return string(content)
}

func (c *Containerd) end() {
	if c.process == nil {
		c.Run()
	}
	if err := c.removeAll(); err != nil {
		c.t.Errorf("remove what the test left: %v", err)
	}
	if c.t.Failed() {
		log := c.Log()
		c.t.Logf("the end of containerd's log:\n%s", log[max(0, len(log)-8000):])
	}
	c.Kill()
	c.client.Close()
	c.log.Close()
}

// patience bounds every wait for the runtime.
const patience = time.Minute

func (c *Containerd) eventually(what string, try func(context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			log := c.Log()
			c.t.Fatalf("%s: not within %v: %v\n%s", what, patience, err, log[max(0, len(log)-8000):])
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var errNotYet = fmt.Errorf("not yet")
