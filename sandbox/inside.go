package sandbox

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/rules/nft"
)

// inside runs in the new namespace, with every capability over it: it builds the
// network, hands its sockets out, waits until they are served, gives up its
// privileges and becomes the command. Its arguments are whether a user namespace
// is its own, the pid of the outside, its end of the channel, the command's path
// and the command.
func inside() int {
	if len(os.Args) < 6 {
		return 1 // somebody else gave this name
	}
	ownUsers := os.Args[1] == "own-users"
	outside, err1 := strconv.Atoi(os.Args[2])
	fd, err2 := strconv.Atoi(os.Args[3])
	if err1 != nil || err2 != nil {
		return 1
	}
	unix.CloseOnExec(fd)
	c := channel{fd}
	if err := prepare(c); err != nil {
		denied := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, nft.ErrNotPermitted)
		c.send(reply{Error: err.Error(), ExitCode: 1, Denied: denied})
		return 1
	}
	var p permission
	if _, err := c.receive(&p); err != nil || !p.Go {
		return 1
	}
	if err := become(ownUsers, outside, os.Args[4], os.Args[5:]); err != nil {
		c.send(reply{Error: err.Error(), ExitCode: exitCodeOf(err)})
	}
	return 1
}

func prepare(c channel) error {
	if err := makeNetwork(); err != nil {
		return err
	}
	sockets, err := openListeners()
	if err != nil {
		return err
	}
	defer sockets.close()
	if err := capture(sockets.proxyPort, sockets.dnsPort); err != nil {
		return err
	}
	files, err := sockets.files()
	for _, f := range files {
		defer f.Close()
	}
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	namespace, err := namespaceOf("self")
	if err != nil {
		return err
	}
	return c.send(reply{
		Namespace: namespace,
		TCP:       len(sockets.tcp), Packets: len(sockets.packets), Streams: len(sockets.streams),
	}, fds...)
}

// become turns this process into the command.
func become(ownUsers bool, outside int, path string, argv []string) error {
	runtime.LockOSThread()
	if err := dropPrivileges(ownUsers); err != nil {
		return err
	}
	// The setting belongs to the thread, and this one becomes the process.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if os.Getppid() != outside {
		return errors.New("the proxy is gone")
	}
	signal.Reset()
	return execve(path, argv)
}
