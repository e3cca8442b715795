package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is what fits into a unix socket's address, with the zero behind it.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// ErrInUse is a path at which another proxy answers.
var ErrInUse = errors.New("another proxy answers there")

// Listen opens the socket at path, for its own user only from its first moment. One
// that a proxy has left behind is replaced.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("longer than the %d bytes that a unix socket's path may have", maxPath)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("is there and is no socket; remove it or name another path")
	}
	switch err := probe(path); {
	case err == nil:
		return nil, ErrInUse
	case errors.Is(err, unix.ECONNREFUSED): // whoever made it has ended
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		// Linux makes the file with the mode that the socket has when it is bound, less
		// the umask: nobody else can connect in between.
		if failed := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); failed != nil {
			return failed
		}
		return err
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return &ownOnly{l.(*net.UnixListener), mayAsk}, nil
}

// Answers says whether somebody listens at a socket. Who does and accepts nothing has a full
// queue some time, of which connect(2) says EAGAIN, at once.
func Answers(path string) bool {
	err := probe(path)
	return err == nil || errors.Is(err, unix.EAGAIN)
}

// probe connects and says nothing.
func probe(path string) error {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// ownOnly lets in those users that may ask.
type ownOnly struct {
	*net.UnixListener
	may func(uid uint32) bool
}

func (l *ownOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(c); err == nil && l.may(uid) {
			return c, nil
		}
		c.Close()
	}
}

// mayAsk is for this process's user, and root.
func mayAsk(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// peer is the user at the other end, as it was when that connected.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if failed := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// Directories are where this process's user has its proxies' sockets unless told
// otherwise, the best first: /run/sluice of root, XDG_RUNTIME_DIR/sluice of others, and
// where that cannot be, sluice-UID under /tmp.
func Directories() []string {
	uid := os.Geteuid()
	var all []string
	if uid == 0 {
		all = append(all, "/run/sluice")
	} else if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		all = append(all, filepath.Join(dir, "sluice"))
	}
	return append(all, filepath.Join("/tmp", "sluice-"+strconv.Itoa(uid)))
}

// suffix is that of a socket's file in one of Directories.
const suffix = ".sock"

// ListenDefault opens a socket of this process's own in the first of dirs that can be
// used, and removes those that ended processes have left there.
func ListenDefault(dirs []string, command string) (net.Listener, error) {
	var errs []error
	for _, dir := range dirs {
		err := makePrivate(dir)
		if err == nil {
			sweep(dir)
			var l net.Listener
			if l, err = listenIn(dir, fmt.Sprintf("%s-%d", command, os.Getpid())); err == nil {
				return l, nil
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", dir, err))
	}
	return nil, errors.Join(errs...)
}

// listenIn tries several names: in another PID namespace another process may have
// this one's number.
func listenIn(dir, name string) (l net.Listener, err error) {
	for try := range 8 {
		path := filepath.Join(dir, name)
		if try > 0 {
			path += "-" + strconv.Itoa(try)
		}
		if l, err = Listen(path + suffix); !errors.Is(err, ErrInUse) && !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return l, err
}

// makePrivate makes a directory of this user's alone, or checks that it is one: in /tmp
// anybody may have made it before.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkPrivate(dir)
}

func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return errors.New("is no directory")
	case !ok || int(stat.Uid) != os.Geteuid():
		return errors.New("belongs to another user")
	case info.Mode().Perm()&0o022 != 0:
		return errors.New("others may write to it")
	}
	return nil
}

// leftBehind is how old a socket that refuses must be to be taken for one that nobody
// will ever answer at: another process may just be making it.
const leftBehind = time.Minute

func sweep(dir string) {
	for _, path := range sockets(dir) {
		info, err := os.Lstat(path)
		if err == nil && time.Since(info.ModTime()) > leftBehind && errors.Is(probe(path), unix.ECONNREFUSED) {
			os.Remove(path)
		}
	}
}

// sockets lists those in a directory that may be proxies'.
func sockets(dir string) (paths []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.Type() == fs.ModeSocket && strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}
