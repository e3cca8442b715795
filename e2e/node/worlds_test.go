package node

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/cgroups"
)

// worldEnv marks the copies of this program that eachInAWorld starts.
const worldEnv = "SLUICE_TEST_NODE_WORLD"

func forOneWorld() bool { return os.Getenv(worldEnv) != "" }

// eachInAWorld runs each test that -run names in a world of its own, several at once:
// most of a test's time is waiting, for a drain limit, a gate, a runtime. A test's output
// comes whole when it has ended, as if they had run one after the other.
//
// The copies are started by the main goroutine, which has the main thread to itself
// (internal/lab): they die with it.
func eachInAWorld() (code int, err error) {
	began := time.Now()
	patterns, err := selected()
	if err != nil {
		return 1, err
	}
	most := *worlds
	switch {
	case most > 0:
	case *full:
		most = 1
	default:
		most = 3
	}
	ended := make(chan *exec.Cmd)
	running := 0
	await := func() {
		c := <-ended
		running--
		output, _ := c.Stdout.(*bytes.Buffer)
		os.Stdout.Write(verdict.ReplaceAll(output.Bytes(), nil))
		if !c.ProcessState.Success() {
			code = 1
		}
	}
	for i, pattern := range patterns {
		if running == most {
			await()
		}
		c, err := inAWorld(i, pattern, began)
		if err != nil {
			code = 1
			fmt.Fprintln(os.Stderr, "error:", err)
			break
		}
		running++
		go func() { c.Wait(); ended <- c }()
	}
	for running > 0 {
		await()
	}
	fmt.Println(map[int]string{0: "PASS", 1: "FAIL"}[code])
	return code, nil
}

// verdict is what a test program prints last, of all its tests. The byte before it marks
// its own lines from those of tests (-test.v=test2json).
var verdict = regexp.MustCompile("\x16?(PASS|FAIL)\n$")

// selected are the patterns of -run, one for each test of this package that matches.
func selected() ([]string, error) {
	pattern := flagged("test.run")
	if strings.Contains(pattern, "/") { // subtests, perhaps of several tests: all in one world
		return []string{pattern}, nil
	}
	list := exec.Command(os.Args[0], "-test.list="+cmp.Or(pattern, "."))
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	var all []string
	for name := range strings.FieldsSeq(string(out)) {
		all = append(all, "^"+name+"$")
	}
	return all, nil
}

// inAWorld starts this program for the tests of a pattern, the nth of the run's worlds,
// with what is left of the run's time. It does not tell `go test` which files it read:
// the result depends on more than those, and is never taken from the cache.
func inAWorld(n int, pattern string, began time.Time) (*exec.Cmd, error) {
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile=") })
	args = append(args, "-test.run="+pattern)
	if limit, err := time.ParseDuration(flagged("test.timeout")); err == nil && limit > 0 {
		args = append(args, "-test.timeout="+max(limit-time.Since(began), time.Second).String())
	}
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), worldEnv+"=1", cgroups.Share(n))
	output := &bytes.Buffer{}
	c.Stdout, c.Stderr = output, output
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c, c.Start()
}

// flagged is the value of a flag of the testing package.
func flagged(name string) string { return flag.Lookup(name).Value.String() }
