// Package ownnetns knows the network namespace that the calling thread is in. To enter it
// once more takes CAP_SYS_ADMIN (setns(2)), which a pod's container with CAP_NET_ADMIN does
// not have: who is there already need not.
package ownnetns

import "golang.org/x/sys/unix"

// Is says that a descriptor is that of the calling thread's namespace. Threads whose
// namespace is another than the process's are locked to their goroutine, so what is said to
// one holds for it.
func Is(fd int) bool {
	var own, other unix.Stat_t
	return unix.Stat("/proc/thread-self/ns/net", &own) == nil && unix.Fstat(fd, &other) == nil && own.Dev == other.Dev && own.Ino == other.Ino
}
