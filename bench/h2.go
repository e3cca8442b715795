package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

var h2Succeeded = regexp.MustCompile(`(\d+) succeeded, (\d+) failed`)

// h2PerRequest measures with h2load: 8 connections of 16 streams each.
func h2PerRequest(o options, s *stage) (float64, error) {
	if _, err := exec.LookPath("h2load"); err != nil {
		return 0, fmt.Errorf("h2load is not installed (Debian: nghttp2-client): %w", err)
	}
	run := func(length ...string) (int, error) {
		cmd := exec.Command("h2load", append(length, "-c", "8", "-m", "16", "--header", ":authority: "+host,
			"http://"+target(httpPort)+"/path")...)
		out, err := outputIn(s, cmd)
		m := h2Succeeded.FindStringSubmatch(string(out))
		if err != nil || m == nil {
			return 0, fmt.Errorf("h2load: %v\n%s", err, out)
		}
		done, _ := strconv.Atoi(m[1])
		if done == 0 || m[2] != "0" {
			return 0, fmt.Errorf("not available: %s", m[0])
		}
		return done, nil
	}
	if _, err := run("-n", "2000"); err != nil { // warm
		return 0, err
	}
	before, err := processorTime(s.clocks)
	if err != nil {
		return 0, err
	}
	done, err := run("-D", strconv.Itoa(max(1, int(o.time.Round(time.Second).Seconds())))) // whole seconds only
	if err != nil {
		return 0, err
	}
	after, err := processorTime(s.clocks)
	return micro(after-before) / float64(done), err
}

// outputIn runs cmd inside the stage's namespace and returns what it printed.
func outputIn(s *stage, cmd *exec.Cmd) (out []byte, err error) {
	err = s.pod.Do(func() error { out, err = cmd.CombinedOutput(); return err })
	return out, err
}
