package escape

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// BecomeWorkload gives this thread what a container has by default: a user of its
// own and containerd's capabilities, CAP_NET_RAW among them. The thread ends soon.
func BecomeWorkload() error {
	var caps uint32
	for _, c := range []uint{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD,
		unix.CAP_NET_RAW, unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE,
		unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE} {
		caps |= 1 << c
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: caps, Permitted: caps}}
	runtime.LockOSThread() // it is locked already, and this says that it must be
	return unix.Capset(&header, &data[0])
}

// becomeUser changes the ids of this thread alone.
func becomeUser(id uintptr) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	unix.Capget(&header, &data[0])
	unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	unix.RawSyscall(unix.SYS_SETRESGID, id, id, id)
	unix.RawSyscall(unix.SYS_SETRESUID, id, id, id)
	data[0].Effective = data[0].Permitted
	unix.Capset(&header, &data[0])
}
