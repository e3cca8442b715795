package labtest

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Without calls do on a thread that may not do what a capability below 32 is for; what do
// begins on other threads still may. It gives do's error, or its own.
func Without(capability uint, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with what it may not do
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		err := unix.Capget(&header, &sets[0])
		if sets[0].Effective &^= 1 << capability; err == nil {
			err = unix.Capset(&header, &sets[0])
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
