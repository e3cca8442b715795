package plugin_test

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutNFTables as first argument makes the test binary run the rest of its
// arguments as on a kernel without netfilter's netlink.
const withoutNFTables = "run-without-nftables"

// execWithoutNFTables forbids socket(AF_NETLINK, any, NETLINK_NETFILTER) with the
// error such a kernel gives, then becomes the command.
func execWithoutNFTables(command []string) {
	const (
		number, argument0, argument2 = 0, 16, 32 // offsets in struct seccomp_data
	)
	filter := []unix.SockFilter{
		load(number), unlessEqual(unix.SYS_SOCKET, 5),
		load(argument0), unlessEqual(unix.AF_NETLINK, 3),
		load(argument2), unlessEqual(unix.NETLINK_NETFILTER, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
		if errno != 0 {
			err = errno
		}
	}
	if err == nil {
		err = syscall.Exec(command[0], command, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(99)
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// unlessEqual skips instructions when the loaded word is another.
func unlessEqual(word uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: word, Jf: skip}
}
