package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
)

// proxyProcess is a `sluice proxy` in the pod's namespace, as a sidecar would be.
type proxyProcess struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced at each line
}

const readyTimeout = 10 * time.Second

// The log lines that tell what the proxy has done.
const (
	saysReady   = `msg=ready`
	saysInForce = `msg="configuration in force" resources=%d` // ends the line
)

func (w *world) startProxy(ctx context.Context, n *lab.Namespace, mark uint32) (*proxyProcess, error) {
	cmd := exec.Command(w.options.Sluice, "proxy", "--mark", formatMark(mark), "--access-log", "off", "--drain-timeout", "1s")
	cmd.Env = w.environment("SSL_CERT_FILE="+caFile(), "SSL_CERT_DIR="+root+"/none")
	cmd.Dir = root
	// Not in our process group: Ctrl-C is for us, we end the proxy.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	p := &proxyProcess{cmd: cmd, ended: make(chan struct{}), changed: make(chan struct{})}
	started := make(chan error, 1)
	go n.Do(func() error {
		// Pdeathsig comes when the thread that started the process ends: stay on it.
		defer in.Close()
		defer close(p.ended)
		err := cmd.Start()
		started <- err
		if err != nil {
			return err
		}
		return cmd.Wait()
	})
	go p.read(out)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	if err := p.waitFor(ctx, saysReady, 0); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *proxyProcess) read(r io.Reader) {
	for scanner := bufio.NewScanner(r); scanner.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, scanner.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// mark is how many lines the proxy has written; waitFor takes it.
func (p *proxyProcess) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// waitFor waits until the proxy writes a line that ends with text, after the first
// skip lines.
func (p *proxyProcess) waitFor(ctx context.Context, text string, skip int) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		p.mu.Lock()
		lines, changed := p.lines[min(skip, len(p.lines)):], p.changed
		p.mu.Unlock()
		for _, line := range lines {
			if strings.HasSuffix(line, text) {
				return nil
			}
		}
		select {
		case <-changed:
		case <-p.ended:
			return fmt.Errorf("the proxy ended (%v): %s", p.cmd.ProcessState, strings.Join(lines, "; "))
		case <-ctx.Done():
			return fmt.Errorf("the proxy did not say %q; it said: %s", text, strings.Join(lines, "; "))
		}
	}
}

// proxySays is the end of the proxy's log, for a step that went wrong.
func (w *world) proxySays() []string {
	if w.pod == nil || w.pod.proxy == nil {
		return nil
	}
	const enough = 5
	p := w.pod.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	var said []string
	for _, line := range p.lines[max(0, len(p.lines)-enough):] {
		said = append(said, "the proxy's log: "+line)
	}
	return said
}

// stop ends the proxy as Kubernetes would: asked first, then killed.
func (p *proxyProcess) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		p.cmd.Process.Kill()
		<-p.ended
		return errors.New("the proxy did not end when it was asked to")
	}
}
