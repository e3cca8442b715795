package file

import (
	"bytes"
	"context"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notifier tells what happens in one directory (inotify(7)). It tells a file that was
// renamed into place, which is whole, from one that is being written.
type notifier struct {
	file  *os.File
	raw   syscall.RawConn
	watch int // -1: no directory
	// ready has a token while there may be events; it is closed when there will be none.
	ready chan struct{}
	// again is told that the token was used. It has room, since run may have ended by then.
	again chan struct{}
}

// event is one thing that happened to a name in the directory; "" is itself.
type event struct {
	name string
	mask uint32
}

// watched are the events that may change what a file holds.
const watched = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

func newNotifier() (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	n := &notifier{file: os.NewFile(uintptr(fd), "inotify"), watch: -1, ready: make(chan struct{}), again: make(chan struct{}, 1)}
	if n.raw, err = n.file.SyscallConn(); err != nil {
		n.file.Close()
		return nil, err
	}
	return n, nil
}

// run hands out a token whenever there are events, until ctx ends or close is called.
func (n *notifier) run(ctx context.Context) {
	defer close(n.ready)
	for {
		if err := n.raw.Read(readable); err != nil {
			return
		}
		for _, step := range []func() bool{
			func() bool {
				select {
				case n.ready <- struct{}{}:
					return true
				case <-ctx.Done():
					return false
				}
			},
			func() bool {
				select {
				case <-n.again:
					return true
				case <-ctx.Done():
					return false
				}
			},
		} {
			if !step() {
				return
			}
		}
	}
}

// readable asks without waiting; until it says true its caller waits for the kernel.
func readable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	count, err := unix.Poll(fds, 0)
	return err == nil && count > 0
}

// add follows a directory, instead of the one before.
func (n *notifier) add(dir string) (err error) {
	n.forget()
	controlErr := n.raw.Control(func(fd uintptr) {
		n.watch, err = unix.InotifyAddWatch(int(fd), dir, watched)
	})
	if err == nil {
		err = controlErr
	}
	if err != nil {
		n.watch = -1
		return os.NewSyscallError("inotify_add_watch", err)
	}
	return nil
}

func (n *notifier) forget() {
	if n.watch >= 0 {
		n.raw.Control(func(fd uintptr) { unix.InotifyRmWatch(int(fd), uint32(n.watch)) })
		n.watch = -1
	}
}

// drain gives every event that the kernel has, without waiting for more.
func (n *notifier) drain(tell func(event)) {
	buffer := make([]byte, 64<<10)
	for {
		var count int
		var err error
		if n.raw.Control(func(fd uintptr) { count, err = unix.Read(int(fd), buffer) }) != nil || err != nil || count <= 0 {
			return
		}
		n.parse(buffer[:count], tell)
	}
}

// parse walks over inotify's records; those of a directory that is not followed any
// more say nothing.
func (n *notifier) parse(data []byte, tell func(event)) {
	for len(data) >= unix.SizeofInotifyEvent {
		record := (*unix.InotifyEvent)(unsafe.Pointer(&data[0]))
		end := unix.SizeofInotifyEvent + int(record.Len)
		name := data[unix.SizeofInotifyEvent:end]
		if zero := bytes.IndexByte(name, 0); zero >= 0 {
			name = name[:zero]
		}
		if int(record.Wd) == n.watch || record.Mask&unix.IN_Q_OVERFLOW != 0 {
			tell(event{string(name), record.Mask})
		}
		data = data[end:]
	}
}

func (n *notifier) close() { n.file.Close() }
