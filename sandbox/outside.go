package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// self is this very program, whatever happened to its file.
const self = "/proc/self/exe"

// box is a namespace and the process in it that is to become the command.
type box struct {
	pid       int
	process   int // a pidfd: unlike the pid it never names another process
	channel   channel
	namespace namespaceID
	sockets   Sockets
	watcher   *watcher
	signals   *signals
}

// open makes the namespace and waits until its sockets are here. On error
// everything is undone.
func open(path string, argv []string) (*box, error) {
	// Orphans among the command's descendants become children of this process.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("adopt orphans: %w", err)
	}
	// The command dies with the thread that started it: keep this one until close.
	runtime.LockOSThread()
	b := &box{process: -1, channel: channel{-1}, signals: catchSignals()}
	if err := b.start(path, argv); err != nil {
		b.close()
		return nil, err
	}
	if err := b.receiveSockets(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *box) start(path string, argv []string) error {
	var err error
	if b.watcher, err = startWatcher(); err != nil {
		return err
	}
	ours, theirs, err := channelPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	b.channel = ours
	users, sys := namespaces()
	// The channel keeps its number: whatever else this process was given (a make's
	// job server, a shell's <(…)) is the command's, under the numbers it has.
	fd := int(theirs.Fd())
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return err
	}
	args := append([]string{insideArg, users, strconv.Itoa(os.Getpid()), strconv.Itoa(fd), path}, argv...)
	b.pid, err = syscall.ForkExec(self, args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   sys,
	})
	if err != nil {
		b.pid = 0
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
			return forbidden(err)
		}
		return fmt.Errorf("start the command's side: %w", err)
	}
	b.process, err = unix.PidfdOpen(b.pid, 0)
	return err
}

// namespaces decides what the command needs of its own: a process without the
// privileges gets a user namespace too, in which it stays the user it is.
func namespaces() (users string, sys *syscall.SysProcAttr) {
	sys = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if privileged() && os.Geteuid() == 0 {
		return "shared-users", sys
	}
	sys.AmbientCaps = setupCapabilities // others than root lose them at execve
	sys.Cloneflags |= syscall.CLONE_NEWUSER
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	return "own-users", sys
}

func (b *box) receiveSockets() error {
	if err := b.channel.limit(setupTimeout); err != nil {
		return err
	}
	var r reply
	fds, err := b.channel.receive(&r)
	switch {
	case errors.Is(err, errClosed):
		return &endedEarly{b.collect()}
	case err != nil:
		return fmt.Errorf("make the command's namespace: %w", err)
	case r.Denied:
		return forbidden(errors.New(r.Error))
	case r.Error != "":
		return fmt.Errorf("make the command's namespace: %s", r.Error)
	}
	b.namespace = r.Namespace
	if err := b.sockets.take(fds, r); err != nil {
		return err
	}
	return b.watcher.watch(b.namespace)
}

// take turns the descriptors into sockets; on error it closes them all.
func (s *Sockets) take(fds []int, r reply) error {
	if len(fds) != r.TCP+r.Packets+r.Streams {
		return fmt.Errorf("the command's side sent %d sockets instead of %d", len(fds), r.TCP+r.Packets+r.Streams)
	}
	var errs []error
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "captured")
		var err error
		switch {
		case i < r.TCP:
			err = appendListener(&s.TCP, f)
		case i < r.TCP+r.Packets:
			err = appendPacketConn(&s.DNSPackets, f)
		default:
			err = appendListener(&s.DNSStreams, f)
		}
		errs = append(errs, err, f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		s.close()
		return err
	}
	return nil
}

func appendListener(to *[]*net.TCPListener, f *os.File) error {
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	*to = append(*to, l.(*net.TCPListener))
	return nil
}

func appendPacketConn(to *[]*net.UDPConn, f *os.File) error {
	c, err := net.FilePacketConn(f)
	if err != nil {
		return err
	}
	*to = append(*to, c.(*net.UDPConn))
	return nil
}

func (s *Sockets) close() {
	for _, l := range append(s.TCP, s.DNSStreams...) {
		l.Close()
	}
	for _, c := range s.DNSPackets {
		c.Close()
	}
}
