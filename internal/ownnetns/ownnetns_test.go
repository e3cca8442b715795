package ownnetns

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

func TestItIsToldFromAnother(t *testing.T) {
	t.Parallel()
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if !Is(int(own.Fd())) {
		t.Error("it is not its own")
	}
	child := exec.Command("sleep", "infinity")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	other, err := os.Open("/proc/" + strconv.Itoa(child.Process.Pid) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if Is(int(other.Fd())) || Is(-1) {
		t.Error("another's is its own")
	}
}
