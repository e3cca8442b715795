package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/lab"
)

// program is the proxy as it ships, with its defaults; the access log goes to a
// file, to be opened anew.
type program struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	err   error
}

const exemptMark = 0x50a7

func startProgram(in *lab.Namespace, dir, egress, access string) (*program, error) {
	p := &program{log: filepath.Join(dir, "proxy.log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(sluicetest.File(), "proxy", "--config", egress, "--access-log", access, "--credentials", credentials(dir), "--mark", fmt.Sprint(exemptMark))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go in.Do(func() error {
		// Pdeathsig comes when the thread that started the process ends: stay on it.
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		return nil
	})
	if err := <-started; err != nil {
		return nil, err
	}
	return p, p.await("msg=ready")
}

// await waits until the proxy has said something.
func (p *program) await(text string) error {
	for late := time.Now().Add(30 * time.Second); ; {
		said, err := os.ReadFile(p.log)
		if err != nil || bytes.Contains(said, []byte(text)) {
			return err
		}
		if time.Now().After(late) || p.over() {
			return errors.Join(fmt.Errorf("the proxy does not say %q; it says:\n%s", text, said), p.stop())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *program) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// watch returns when the proxy has ended before ctx.
func (p *program) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.ended:
		return fmt.Errorf("the proxy ended: %w", p.err)
	}
}

// stopWithin is longer than any request takes: nothing is left to drain for long.
const stopWithin = 30 * time.Second

// stop ends the proxy as a kubelet does.
func (p *program) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return p.err
	case <-time.After(stopWithin):
		p.cmd.Process.Kill()
		<-p.ended
		return errors.New("the proxy does not end when it is asked to")
	}
}

// complaints are the lines of the proxy's log that no operator should see here.
func (p *program) complaints() (all []string, err error) {
	said, err := os.ReadFile(p.log)
	for line := range strings.Lines(string(said)) {
		if strings.Contains(line, "panic") || strings.Contains(line, "level=ERROR") && !strings.Contains(line, "nonsense") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all, err
}
