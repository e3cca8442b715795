package stage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	"github.com/sluice-cni/sluice/e2e/node/programs"
)

// Process is a holder or an agent.
type Process struct {
	Name string
	PID  int
	// Ended is closed when it is gone; then Died says when and State how.
	Ended chan struct{}
	Died  time.Time
	State *os.ProcessState

	t   testing.TB
	log string
	cmd *exec.Cmd
}

// start runs `sluice args…` in a cgroup of its own. Output goes to a file, which a
// failed test prints the end of.
func start(t testing.TB, name, logs string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: name, Ended: make(chan struct{}), t: t, log: filepath.Join(logs, name+".log")}
	out, err := os.Create(p.log)
	must(t, err)
	defer out.Close()
	p.cmd = exec.Command(programs.Sluice(), args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	group := cgroups.New(t, name)
	// Started in the cgroup, not moved there: its first sockets belong to it too.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Setsid: true}
	must(t, p.cmd.Start())
	p.PID = p.cmd.Process.Pid
	go func() {
		p.cmd.Wait()
		p.Died, p.State = time.Now(), p.cmd.ProcessState
		close(p.Ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		if i := strings.Index(p.Log(), "WARNING: DATA RACE"); i >= 0 {
			t.Errorf("%s has a data race:\n%.8000s", name, p.Log()[i:])
		}
		if i := strings.Index(p.Log(), "\npanic: "); i >= 0 {
			t.Errorf("%s panicked:\n%.8000s", name, p.Log()[i:])
		}
		if t.Failed() {
			t.Logf("the end of %s's log (%v):\n%s", name, p.State, p.LogEnd(6000))
		}
	})
	return p
}

// Kill ends it at once, as kill -9 does, and waits until it is gone. A second time does
// nothing.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.Ended
}

// Terminate asks it to end, as systemd and a kubelet do.
func (p *Process) Terminate() { p.cmd.Process.Signal(syscall.SIGTERM) }

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Log is all that it has logged.
func (p *Process) Log() string {
	content, err := os.ReadFile(p.log)
	must(p.t, err)
	return string(content)
}

// LogEnd is the last n bytes of it, without the refusals that tests provoke.
func (p *Process) LogEnd(n int) string {
	var log strings.Builder
	for line := range strings.Lines(p.Log()) {
		if !strings.Contains(line, "refused: not registered") {
			log.WriteString(line)
		}
	}
	return log.String()[max(0, log.Len()-n):]
}

// Descriptors is how many it has open.
func (p *Process) Descriptors() int {
	all, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd"))
	if err != nil {
		return -1
	}
	return len(all)
}

// Memory is resident memory in bytes: Anonymous is the process's own, File the pages
// of its program, which the page cache has anyway, Peak the most that both ever were.
type Memory struct{ Anonymous, File, Peak int }

// Resident is both together.
func (m Memory) Resident() int { return m.Anonymous + m.File }

func (m Memory) String() string {
	return fmt.Sprintf("%.1f MB (%.1f own, %.1f file)", float64(m.Resident())/1e6, float64(m.Anonymous)/1e6, float64(m.File)/1e6)
}

// Memory reads it from the kernel.
func (p *Process) Memory() (m Memory) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "status"))
	must(p.t, err)
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "RssAnon:":
			m.Anonymous = kb << 10
		case "RssFile:", "RssShmem:":
			m.File += kb << 10
		case "VmHWM:":
			m.Peak = kb << 10
		}
	}
	return m
}

// CPU is the time that it has computed.
func (p *Process) CPU() time.Duration {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "stat"))
	must(p.t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	const perSecond = 100 // USER_HZ, the same on every Linux
	return time.Duration(user+system) * time.Second / perSecond
}
