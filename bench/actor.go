package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"golang.org/x/sys/unix"
)

// roleEnv makes this program play the client, the server or the proxy.
const roleEnv = "SLUICE_BENCH_ROLE"

// An actor is this program in another role and process. It speaks one line of
// JSON at a time and ends when its standard input does, so that none outlives us.
type actor struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startActor(in *lab.Namespace, role string, cpu int, args any) (*actor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, string(text))
	cmd.Env = append(os.Environ(), roleEnv+"="+role, fmt.Sprintf("SLUICE_BENCH_CPU=%d", cpu))
	cmd.Stderr = os.Stderr
	a := &actor{cmd: cmd}
	if a.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewReader(out)
	return a, in.Start(cmd)
}

// patience bounds the wait for an actor's word; what it waits for may never come.
const patience = 20 * time.Second

// hear reads the actor's next line into v.
func (a *actor) hear(v any) error {
	late := time.AfterFunc(patience, func() { a.cmd.Process.Kill() })
	defer late.Stop()
	line, err := a.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s ended early", a.cmd.Env[len(a.cmd.Env)-2])
	}
	return json.Unmarshal([]byte(line), v)
}

// tell lets the actor go on.
func (a *actor) tell() error {
	_, err := io.WriteString(a.in, "\n")
	return err
}

func (a *actor) end() {
	a.in.Close()
	a.cmd.Wait()
}

// play is main in another role.
func play(role string, args []string) error {
	var cpu int
	if _, err := fmt.Sscan(os.Getenv("SLUICE_BENCH_CPU"), &cpu); err == nil && cpu >= 0 {
		pin(cpu)
	}
	read := json.NewDecoder(strings.NewReader(args[0]))
	switch role {
	case "server":
		return serve()
	case "proxy":
		var a proxyArgs
		if err := read.Decode(&a); err != nil {
			return err
		}
		return profiledProxy(a)
	case "client":
		var l load
		if err := read.Decode(&l); err != nil {
			return err
		}
		return l.run()
	}
	return fmt.Errorf("%s %q: no such role", roleEnv, role)
}

// pin keeps this whole process on one processor; threads made later inherit that.
func pin(cpu int) {
	runtime.GOMAXPROCS(1)
	var set unix.CPUSet
	set.Set(cpu)
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		var tid int
		fmt.Sscan(t.Name(), &tid)
		unix.SchedSetaffinity(tid, &set)
	}
}

// say writes a line for hear.
func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// waitForTell waits for the other side's word, or its end.
func waitForTell() {
	var b [1]byte
	os.Stdin.Read(b[:])
}
