// Package inotify tells what happens in one directory (inotify(7)), to a loop that
// selects on Ready: take the events by Drain, then say Again.
package inotify

import (
	"bytes"
	"context"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Watcher follows one directory. It tells a file that was renamed into place, which is
// whole, from one that is being written.
type Watcher struct {
	file  *os.File
	raw   syscall.RawConn
	watch int // -1: no directory
	// ready has a token while there may be events; it is closed when there will be none.
	ready chan struct{}
	// again is told that the token was used. It has room, since run may have ended by then.
	again chan struct{}
}

// Event is one thing that happened to a name in the directory; "" is itself.
type Event struct {
	Name string
	Mask uint32 // unix.IN_*
}

// Itself are the events after which the directory has to be followed anew, or looked
// through: it went, or events were lost.
const Itself = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED | unix.IN_Q_OVERFLOW

// watched are the events that may change what a file holds.
const watched = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// New makes a Watcher of no directory yet. The system has a limit of them
// (fs.inotify.max_user_instances): whoever gets an error polls instead.
func New() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	n := &Watcher{file: os.NewFile(uintptr(fd), "inotify"), watch: -1, ready: make(chan struct{}), again: make(chan struct{}, 1)}
	if n.raw, err = n.file.SyscallConn(); err != nil {
		n.file.Close()
		return nil, err
	}
	return n, nil
}

// Run hands out a token whenever there are events, until ctx ends or Close is called.
func (n *Watcher) Run(ctx context.Context) {
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

// Add follows a directory, instead of the one before.
func (n *Watcher) Add(dir string) (err error) {
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

func (n *Watcher) forget() {
	if n.watch >= 0 {
		n.raw.Control(func(fd uintptr) { unix.InotifyRmWatch(int(fd), uint32(n.watch)) })
		n.watch = -1
	}
}

// Drain gives every event that the kernel has, without waiting for more.
func (n *Watcher) Drain(tell func(Event)) {
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
func (n *Watcher) parse(data []byte, tell func(Event)) {
	for len(data) >= unix.SizeofInotifyEvent {
		record := (*unix.InotifyEvent)(unsafe.Pointer(&data[0]))
		end := unix.SizeofInotifyEvent + int(record.Len)
		name := data[unix.SizeofInotifyEvent:end]
		if zero := bytes.IndexByte(name, 0); zero >= 0 {
			name = name[:zero]
		}
		if int(record.Wd) == n.watch || record.Mask&unix.IN_Q_OVERFLOW != 0 {
			tell(Event{string(name), record.Mask})
		}
		data = data[end:]
	}
}

// Close ends Run, if that is still on.
func (n *Watcher) Close() { n.file.Close() }

// Ready has a token while there may be events; it is closed when Run has ended.
func (n *Watcher) Ready() <-chan struct{} { return n.ready }

// Again asks for the next token, after Drain.
func (n *Watcher) Again() { n.again <- struct{}{} }
