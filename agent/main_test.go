package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/cgroup"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules/nft"
)

const applicationsEnv = "SLUICE_TEST_APPLICATIONS"

// An Agent looks through the whole node, so its tests have one of their own.
func TestMain(m *testing.M) {
	if os.Getenv(applicationsEnv) != "" {
		runApplications(os.Stdin, os.Stdout)
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // each test of an Agent says that it needs root
	}
	inside, code, err := lab.World()
	if err == nil && inside {
		if err = settle(); err == nil {
			code = m.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = 1
	}
	os.Exit(code)
}

// own is by what pods' rules know this process, ownCgroup its cgroup's path.
var (
	own       wire.Agents
	ownCgroup string
)

// settle starts the pods' applications, which are another process in another cgroup:
// sockets that this one makes are the agent's.
func settle() (err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), applicationsEnv+"=1")
	cmd.Stderr = os.Stderr
	if applications.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	applications.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return err
	}
	if ownCgroup, err = cgroup.Join(""); err != nil {
		return err
	}
	found, err := nft.OwnAgents()
	own = wire.Agents{Levels: found.Levels, IDs: found.IDs}
	return err
}

var applications struct {
	sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// wish is what an application is to do in a pod. Get asks for a page of Host and ends;
// Open and Say are a connection that stays, by its name.
type wish struct{ Path, Get, Send, Open, Say, Close, Address string }

type outcome struct {
	Status int
	Body   string
	Err    string
}

// application has one do it.
func application(t *testing.T, w wish) outcome {
	t.Helper()
	applications.Lock()
	defer applications.Unlock()
	line, err := json.Marshal(w)
	if err == nil {
		_, err = fmt.Fprintf(applications.in, "%s\n", line)
	}
	var o outcome
	if err == nil {
		if line, err = applications.out.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &o)
		}
	}
	if err != nil {
		t.Fatal("the applications' process: ", err)
	}
	return o
}

func runApplications(in io.Reader, out io.Writer) {
	lines := bufio.NewScanner(in)
	open := map[string]net.Conn{}
	for lines.Scan() {
		var w wish
		var o outcome
		err := json.Unmarshal(lines.Bytes(), &w)
		if err == nil {
			o, err = grant(w, open)
		}
		if err != nil {
			o.Err = err.Error()
		}
		line, _ := json.Marshal(o)
		fmt.Fprintf(out, "%s\n", line)
	}
}

const applicationPatience = await.Patience

func grant(w wish, open map[string]net.Conn) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), applicationPatience)
	defer cancel()
	switch {
	case w.Say != "":
		c := open[w.Say]
		c.SetDeadline(time.Now().Add(applicationPatience))
		if _, err = c.Write([]byte("hello")); err != nil {
			return o, err
		}
		b := make([]byte, 5)
		_, err = io.ReadFull(c, b)
		o.Body = string(b)
		return o, err
	case w.Close != "":
		err = open[w.Close].Close()
		delete(open, w.Close)
		return o, err
	}
	n, err := lab.Open(w.Path)
	if err != nil {
		return o, err
	}
	defer n.Close()
	network := "tcp4"
	if w.Send != "" {
		network = "udp4"
	}
	c, err := n.Dial(ctx, network, w.Address)
	if err != nil {
		return o, err
	}
	if w.Open != "" {
		open[w.Open] = c
		return o, nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(applicationPatience))
	if w.Send != "" {
		if _, err = io.WriteString(c, w.Send); err != nil {
			return o, err
		}
		b := make([]byte, len(w.Send))
		_, err = c.Read(b)
		return outcome{Body: string(b)}, err
	}
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", w.Get)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return o, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return outcome{Status: r.StatusCode, Body: string(body)}, err
}
