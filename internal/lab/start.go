package lab

import (
	"os/exec"
	"runtime"
)

// startOnPdeathsigThread starts cmd from the main thread's goroutine. The kernel
// sends Pdeathsig when the *thread* that forked ends, so that thread must live as
// long as the process does.
func startOnPdeathsigThread(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	err := cmd.Start()
	if err != nil {
		runtime.UnlockOSThread()
	}
	return err
}
