package sandbox

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaceID names a network namespace as long as it lives.
type namespaceID struct{ Device, Inode uint64 }

// namespaceOf is the network namespace of a process, by its folder in /proc.
func namespaceOf(process string) (namespaceID, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+process+"/ns/net", &st); err != nil {
		return namespaceID{}, &os.PathError{Op: "stat", Path: "/proc/" + process + "/ns/net", Err: err}
	}
	return namespaceID{uint64(st.Dev), st.Ino}, nil
}

// processes lists the pids that run now.
func processes() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// parentOf is the parent of a process that is not a zombie; ok is false for
// those and for processes that are gone.
func parentOf(pid int) (parent int, ok bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// pid (name) state ppid …: the name may hold anything, parentheses too.
	_, rest, found := cutLast(string(data), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
