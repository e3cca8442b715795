package agent

import (
	"bufio"
	"bytes"
	"os"
	"reflect"
	"strconv"

	"golang.org/x/sys/unix"
)

// forgetProgram gives back the pages of this program's file that only its start needed:
// most of it is mapped by then, in pieces as large as the kernel likes, and counts as this
// process's memory. They stay in the page cache, and those that are still used are mapped
// again as they are touched, without a read.
func forgetProgram() {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range fileMappings(smaps, reflect.ValueOf(forgetProgram).Pointer()) {
		// An error costs memory, no function.
		unix.RawSyscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a line of proc(5)'s maps, with what smaps adds.
type mapping struct {
	start, end uintptr
	file       string // device and inode; "": none
	droppable  bool
}

// fileMappings are the mappings of the file in which an address of code lies, as far as
// each of their pages is the file's: private, not writable, and nothing anonymous in them,
// which is what relocations, and a debugger's breakpoints, leave in a page.
func fileMappings(smaps []byte, code uintptr) (found []mapping) {
	var all []mapping
	file := ""
	for lines := bufio.NewScanner(bytes.NewReader(smaps)); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		switch {
		case len(fields) >= 5 && bytes.IndexByte(fields[0], '-') > 0:
			m := mapping{droppable: len(fields[1]) == 4 && fields[1][1] == '-' && fields[1][3] == 'p'}
			from, to, _ := bytes.Cut(fields[0], []byte("-"))
			start, err1 := strconv.ParseUint(string(from), 16, strconv.IntSize)
			end, err2 := strconv.ParseUint(string(to), 16, strconv.IntSize)
			m.start, m.end = uintptr(start), uintptr(end)
			if string(fields[4]) != "0" {
				m.file = string(fields[3]) + " " + string(fields[4])
			}
			if err1 != nil || err2 != nil {
				m.droppable = false
			}
			if m.start <= code && code < m.end {
				file = m.file
			}
			all = append(all, m)
		case len(fields) == 3 && string(fields[0]) == "Anonymous:" && len(all) > 0:
			last := &all[len(all)-1]
			last.droppable = last.droppable && string(fields[1]) == "0"
		}
	}
	for _, m := range all {
		if file != "" && m.file == file && m.droppable {
			found = append(found, m)
		}
	}
	return found
}
