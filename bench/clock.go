package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what the processes have used so far, all threads, user and
// system, from the kernel's clock of each process.
func processorTime(pids []int) (time.Duration, error) {
	total := time.Duration(0)
	for _, pid := range pids {
		// CPUCLOCK_SCHED of another process: linux/posix-timers.h, MAKE_PROCESS_CPUCLOCK.
		clock := int32(^pid<<3 | 2)
		var t unix.Timespec
		if err := unix.ClockGettime(clock, &t); err != nil {
			return 0, fmt.Errorf("read the processor clock of process %d: %w", pid, err)
		}
		total += time.Duration(t.Nano())
	}
	return total, nil
}

// residentMemory is the processes' RSS in bytes, shared pages counted once each.
func residentMemory(pids []int) (int64, error) {
	total := int64(0)
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		for _, line := range strings.Split(string(data), "\n") {
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
				if err != nil {
					return 0, err
				}
				total += kb << 10
			}
		}
	}
	return total, nil
}

// children are the processes that pid has started and that live.
func children(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(word); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}
