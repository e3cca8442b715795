package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	errNotFound      = errors.New("command not found")
	errNotExecutable = errors.New("cannot be executed")
)

// findCommand looks a command up as a shell does: a name with a slash is a path,
// any other is looked for along PATH, where a file that cannot be executed is
// remembered but does not end the search.
func findCommand(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	notFound := fmt.Errorf("command %q: %w; check the spelling and PATH", name, errNotFound)
	if name == "" {
		return "", notFound
	}
	result := notFound
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		if _, err := os.Stat(path); err != nil {
			continue // not there, or in a folder that this user may not search
		}
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(result, errNotFound) {
			result = err
		}
	}
	return "", result
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("command %q: %w: no such file", path, errNotFound)
	case err != nil:
		return fmt.Errorf("command %q: %w: %w", path, errNotExecutable, err)
	case info.IsDir():
		return fmt.Errorf("command %q: %w: it is a directory", path, errNotExecutable)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("command %q: %w: %w", path, errNotExecutable, err)
	}
	return nil
}

// execve replaces this process by the command. A file that the kernel does not
// know how to run is given to the shell, as execvp does.
func execve(path string, argv []string) error {
	err := unix.Exec(path, argv, os.Environ())
	if errors.Is(err, unix.ENOEXEC) {
		err = unix.Exec("/bin/sh", append([]string{"sh", path}, argv[1:]...), os.Environ())
	}
	if errors.Is(err, unix.ENOENT) { // the file is there: its interpreter is not
		return fmt.Errorf("command %q: %w: its interpreter is missing", path, errNotFound)
	}
	return fmt.Errorf("command %q: %w: %w", path, errNotExecutable, err)
}
