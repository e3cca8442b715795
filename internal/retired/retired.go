// Package retired marks an executable as one that does nothing any more: it is the
// same program with a trailer behind it. After an uninstall a CNI plugin must stay
// where it was, since runtimes call it for pods of earlier days and repeat a DEL
// that fails. The mark is in the file itself, so it needs no second program, no
// configuration and no file beside it that could be lost or forgotten.
package retired

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// trailer stands behind the last byte of an ELF file, which the kernel does not
// load.
const trailer = "\nsluice:retired\n"

// Write copies the executable to w and marks it. One that is marked already gets
// no second trailer.
func Write(w io.Writer, executable *os.File) error {
	size, marked, err := look(executable)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, io.NewSectionReader(executable, 0, size)); err != nil {
		return fmt.Errorf("copy %s: %w", executable.Name(), err)
	}
	if !marked {
		_, err = io.WriteString(w, trailer)
	}
	return err
}

// Revive copies the executable to w without the mark.
func Revive(w io.Writer, executable *os.File) error {
	size, marked, err := look(executable)
	if err != nil {
		return err
	}
	if marked {
		size -= int64(len(trailer))
	}
	if _, err := io.Copy(w, io.NewSectionReader(executable, 0, size)); err != nil {
		return fmt.Errorf("copy %s: %w", executable.Name(), err)
	}
	return nil
}

// Marked says whether an executable has the trailer.
func Marked(executable *os.File) (bool, error) {
	_, marked, err := look(executable)
	return marked, err
}

// Self says whether the running program has the trailer. Where that cannot be
// read, it has none.
func Self() bool {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer f.Close()
	_, marked, err := look(f)
	return err == nil && marked
}

func look(f *os.File) (size int64, marked bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	size = info.Size()
	if size < int64(len(trailer)) {
		return size, false, nil
	}
	end := make([]byte, len(trailer))
	if _, err := f.ReadAt(end, size-int64(len(trailer))); err != nil && !errors.Is(err, io.EOF) {
		return 0, false, fmt.Errorf("read the end of %s: %w", f.Name(), err)
	}
	return size, string(end) == trailer, nil
}
