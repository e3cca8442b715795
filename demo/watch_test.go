package demo_test

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
)

// waiter collects output and tells when a text has come.
type waiter struct {
	mu    sync.Mutex
	all   bytes.Buffer
	text  string
	found chan struct{}
}

func (w *waiter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(p)
	w.look()
	return len(p), nil
}

// expect waits for another text.
func (w *waiter) expect(text string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text, w.found = text, make(chan struct{})
	w.look()
	return w.found
}

func (w *waiter) look() {
	if w.text != "" && strings.Contains(w.all.String(), w.text) {
		w.text = ""
		close(w.found)
	}
}

func (w *waiter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// noneLeft waits until no process runs a program from dir.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	var left []string
	if !await.Within(await.Patience, func() bool { left = running(dir); return len(left) == 0 }) {
		t.Errorf("still running: %v", left)
	}
}

func running(dir string) []string {
	links, _ := os.ReadDir("/proc")
	var found []string
	for _, l := range links {
		exe, err := os.Readlink("/proc/" + l.Name() + "/exe")
		if err == nil && strings.HasPrefix(exe, dir) {
			found = append(found, l.Name()+" "+exe)
		}
	}
	return found
}
