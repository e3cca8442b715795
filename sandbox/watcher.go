package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher is a process that ends what the command left when this process is
// killed and cannot. It waits at a pipe for orders: a namespace to watch, then
// "done"; a pipe that closes without it means that the owner was killed.
type watcher struct {
	pid  int
	pipe *os.File
}

type watchOrder struct {
	Namespace namespaceID
	Done      bool
}

func startWatcher() (*watcher, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		w.Close()
		return nil, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(self, []string{watcherArg}, &syscall.ProcAttr{
		Dir:   "/",
		Files: []uintptr{r.Fd(), null.Fd(), null.Fd()},
		// A session of its own: neither the terminal nor a kill of the group reaches it.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("start the watcher: %w", err)
	}
	return &watcher{pid: pid, pipe: w}, nil
}

func (w *watcher) watch(namespace namespaceID) error {
	return json.NewEncoder(w.pipe).Encode(watchOrder{Namespace: namespace})
}

// dismiss ends the watcher and waits until it is gone.
func (w *watcher) dismiss() {
	json.NewEncoder(w.pipe).Encode(watchOrder{Done: true})
	w.pipe.Close()
	if w.pid == 0 {
		return // ended before, and collected
	}
	unix.Kill(w.pid, unix.SIGKILL)
	var status unix.WaitStatus
	retry(func() error { _, err := unix.Wait4(w.pid, &status, 0, nil); return err })
}

// watch is the watcher process.
func watch() int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	orders := json.NewDecoder(os.Stdin)
	var left leftovers
	for {
		var o watchOrder
		if orders.Decode(&o) != nil {
			break
		}
		if o.Done {
			return 0
		}
		left.namespace = o.Namespace
	}
	if left.kill(func() {}) != nil {
		return 1
	}
	return 0
}
