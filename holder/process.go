package holder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// mournEvery is how often agents that were there before are looked at.
const mournEvery = 200 * time.Millisecond

// mourn tells the core which of the agents that were there before are dead: those that
// are alive come back by themselves. It ends when none is left to look at, or when the
// core does not wait for them any more either.
func (h *holder) mourn(ctx context.Context, absent []wire.AgentInfo) {
	tick := time.NewTicker(mournEvery)
	defer tick.Stop()
	for until := time.Now().Add(wire.AliveLimit); len(absent) > 0 && time.Now().Before(until); {
		var alive []wire.AgentInfo
		for _, a := range absent {
			switch dead, known := isDead(a.Process); {
			case !known: // only time will tell
			case !dead:
				alive = append(alive, a)
			case !h.post(ctx, core.Died{Process: a.Process}):
				return
			}
		}
		absent = alive
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// isDead says whether the process is none any more. It is not known of one whose
// number is another namespace's.
func isDead(p wire.Process) (dead, known bool) {
	own, err := pidNamespace()
	if p.PID == 0 || err != nil || p.Namespace != own {
		return false, false
	}
	now, err := lookAt(p.PID)
	return err != nil && errors.Is(err, os.ErrNotExist) || err == nil && now != p, true
}

// lookAt says what process the number stands for now. One that has ended and is yet to
// be waited for is none.
func lookAt(pid int) (p wire.Process, err error) {
	if pid <= 0 {
		return p, errors.New("it is in another PID namespace")
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrNotExist
	}
	if err != nil {
		return p, err
	}
	// The name, in brackets, may hold anything; what follows has no more of them.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, start = 0, 19 // proc(5)'s fields 3 and 22, which begin with 1; the name is 2
	if len(fields) <= start {
		return p, fmt.Errorf("/proc/%d/stat: has %d fields", pid, len(fields)+2)
	}
	if s := string(fields[state]); s == "Z" || s == "X" {
		return p, os.ErrNotExist
	}
	if p.Start, err = strconv.ParseUint(string(fields[start]), 10, 64); err != nil {
		return wire.Process{}, err
	}
	p.PID = pid
	p.Namespace, err = pidNamespace()
	return p, err
}

func pidNamespace() (inode uint64, err error) {
	var stat unix.Stat_t
	err = unix.Stat("/proc/self/ns/pid", &stat)
	return stat.Ino, err
}
