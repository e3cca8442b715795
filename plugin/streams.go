package plugin

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// keepStdin reads the configuration and puts a copy of it in standard input's
// place for skel: an error object must carry the configuration's version, even
// when skel finds the error.
func keepStdin(verb string) ([]byte, error) {
	switch verb {
	case "", "VERSION":
		return nil, nil // nothing is read, least of all from a terminal
	}
	conf, err := io.ReadAll(input)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("cni-conf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	f := os.NewFile(uintptr(fd), "cni-conf")
	if _, err := f.Write(conf); err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	os.Stdin = f
	return conf, nil
}

// input keeps descriptor 0 open. Else the garbage collector would close it once os.Stdin
// is another file, and the next thing that is opened, such as the pod's namespace, would
// have its number, which libraries take for "none".
var input = os.Stdin

// stdout and stderr write without os.File: that ends the process when nobody
// reads any more (SIGPIPE), and an ADD that ends so leaves its rules behind.
const (
	stdout descriptor = 1
	stderr descriptor = 2
)

type descriptor int

func (d descriptor) Write(data []byte) (written int, err error) {
	for written < len(data) && err == nil {
		var n int
		n, err = unix.Write(int(d), data[written:])
		if err == unix.EINTR {
			err = nil
			continue
		}
		written += max(n, 0)
	}
	return written, err
}
