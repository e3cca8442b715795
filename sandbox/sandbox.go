// Package sandbox runs a command in a network namespace of its own whose every
// TCP connection and DNS query is handed to the caller.
//
// The namespace has no way out: its default routes lead into a cable to itself,
// and its rules redirect TCP and DNS to sockets that were opened inside and then
// handed outside, to this process, which stays in the machine's namespace. Nothing
// on the machine changes; what was made lives in the namespace and ends with it.
//
//	     the command's namespace                  │   this process
//	connect() ─▶ redirect ─▶ listener on loopback ─┼─▶ Serve ─▶ the machine's network
//
// Programs that use it call Init first thing in main.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Command is what to run. Standard streams, environment, working directory and
// terminal are this process's own.
type Command struct {
	Argv []string // the command and its arguments
	// Serve carries what the command sends. It is called once, before the command
	// runs, in the namespace of this process; ctx ends after the command did. The
	// sockets are Serve's to close.
	Serve func(ctx context.Context, s Sockets) error
}

// Sockets are open inside the command's namespace, on its loopback addresses.
type Sockets struct {
	// TCP accepts redirected connections, their original destination in SO_ORIGINAL_DST.
	TCP []*net.TCPListener
	// DNSPackets and DNSStreams receive every query, whatever server it was for.
	DNSPackets []*net.UDPConn
	DNSStreams []*net.TCPListener
}

// Run runs the command to its end and returns its exit code: 128 + n when signal
// n ended it, 127 when there is no such command, 126 when it cannot be executed.
// Whatever the command left behind is ended too. Run owns this process's children
// and, while the command runs, its signals.
func Run(c Command) (exitCode int, err error) {
	path, err := findCommand(c.Argv[0])
	if err != nil {
		return exitCodeOf(err), err
	}
	box, err := open(path, c.Argv)
	if early := (*endedEarly)(nil); errors.As(err, &early) && early.status.Signaled() {
		return exitStatus(early.status), nil // Ctrl-C, say
	}
	if err != nil {
		return exitCodeOf(err), err
	}
	defer box.close()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		err := c.Serve(ctx, box.sockets)
		if ctx.Err() == nil {
			// Without it nothing the command does can work: end it, say why.
			box.kill()
			if err == nil {
				err = errors.New("it ended early")
			}
			err = fmt.Errorf("the proxy failed: %w", err)
		}
		served <- err
	}()
	exitCode, err = box.run()
	cancel()
	return exitCode, errors.Join(err, <-served)
}

// exitCodeOf is the code a shell would give for the failure to start a command.
func exitCodeOf(err error) int {
	switch {
	case errors.Is(err, errNotFound):
		return 127
	case errors.Is(err, errNotExecutable):
		return 126
	}
	return 1
}

// setupTimeout bounds the making of the namespace: it takes milliseconds.
const setupTimeout = 20 * time.Second

// Init takes over when this process is one that Run started: the one that makes
// the namespace and becomes the command, or the one that tidies up after a
// killed Run. Then it does not return.
func Init() {
	switch os.Args[0] {
	case insideArg:
		os.Exit(inside())
	case watcherArg:
		os.Exit(watch())
	}
}

const (
	insideArg  = "sluice-exec-inside"
	watcherArg = "sluice-exec-watcher"
)
