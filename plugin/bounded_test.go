package plugin_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/plugin/cnitest"
	"golang.org/x/sys/unix"
)

// background is a plugin whose streams the test holds.
func background(t *testing.T, verb, netns string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary())
	cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=pod1", "CNI_IFNAME=eth0", "CNI_PATH=" + cnitest.Folder(), "CNI_NETNS=" + netns}
	return cmd
}

// A runtime that never closes standard input gets an answer all the same.
func TestTheWaitForTheConfigurationIsBounded(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"ADD", "DEL"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			silent, never, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer never.Close()
			cmd := background(t, verb, pod(t).Path())
			cmd.Stdin = silent
			began := time.Now()
			out, err := cmd.Output()
			silent.Close()
			var f failure
			if json.Unmarshal(out, &f) != nil || err == nil || f.Code != 11 || !strings.Contains(f.Msg, verb+" took longer than 10s") {
				t.Errorf("%v, %s", err, out)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A netns path that is a pipe, and a result that nobody reads.
func TestNoStreamHoldsThePluginUp(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := (call{verb: "ADD", netns: fifo, stdin: conf("")}).run(t).failed(t); f.Code != 8 {
		t.Errorf("%+v", f)
	}

	ns := pod(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if err := fill(writer); err != nil {
		t.Fatal(err)
	}
	cmd := background(t, "ADD", ns.Path())
	cmd.Stdin, cmd.Stdout = strings.NewReader(conf("")), writer
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "nobody reads it") {
		t.Errorf("%v, %s", err, &said)
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("an ADD without a result left %v", left)
	}
}

// fill writes until the pipe takes no more.
func fill(pipe *os.File) error {
	fd := int(pipe.Fd()) // once: each call makes the pipe blocking again
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	for {
		if _, err := unix.Write(fd, make([]byte, 4096)); err == unix.EAGAIN {
			return unix.SetNonblock(fd, false)
		} else if err != nil {
			return err
		}
	}
}

func TestAClosedStandardOutputUndoesTheAdd(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd := background(t, "ADD", ns.Path())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(conf("")), writer, io.Discard
	err = cmd.Run()
	writer.Close()
	if err == nil {
		t.Error("success without a result")
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// The configuration's own bound: a kernel that does not answer is played by a
// supervisor that lets nothing through.
func TestTheConfigurationsTimeoutCounts(t *testing.T) {
	t.Parallel()
	c := call{verb: "ADD", netns: pod(t).Path(), stdin: conf(`"timeout":"300ms"`)}
	out := c.supervised(t, func(call int32) decision {
		if call == unix.SYS_SENDTO || call == unix.SYS_SENDMSG {
			return hold
		}
		return goOn
	})
	f := out.failed(t)
	if f.Code != 11 || !strings.Contains(f.Msg, "ADD took longer than 300ms") {
		t.Errorf("%+v", f)
	}
}
