package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Status is as much as these tests want of what the serving agent says of itself.
type Status struct {
	PID              int
	Connected, Ready bool
	Serving          int
	Draining         int
	Resources        int
	Errors           int                       // in their files
	Issues           []string                  // with them, where they are a cluster's
	Used             struct{ Connections int } // by all pods
	Policy           uint64                    // its generation
	Ranges           int                       // of the cluster
	PolicyError      string
	Pods             []PodStatus
}

// PodStatus is one pod.
type PodStatus struct {
	Name          struct{ Namespace, Name string }
	State, Reason string
	Hash          string
}

// Enrolled counts the pods that are captured and served.
func (s Status) Enrolled() (n int) {
	for _, p := range s.Pods {
		if p.State == "enrolled" {
			n++
		}
	}
	return n
}

// Status asks the serving agent.
func (n *Node) Status() (s Status, err error) {
	body, err := n.ask("agent.sock", "/v1/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s)
}

// Enrolled is how many pods the serving agent serves, -1 where there is none.
func (n *Node) Enrolled() int {
	s, err := n.Status()
	if err != nil {
		return -1
	}
	return s.Enrolled()
}

// Metrics are the agent's, by name with labels as in the text format.
func (n *Node) Metrics() (map[string]float64, error) {
	body, err := n.ask("agent.sock", "/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if i := strings.LastIndexByte(strings.TrimSpace(line), ' '); i > 0 {
			if v, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64); err == nil {
				all[line[:i]] = v
			}
		}
	}
	return all, nil
}

// Leave has the agent let every pod go, and returns when it says that it has.
func (n *Node) Leave() error {
	c := n.client("agent.sock", patience)
	resp, err := c.Post("http://sluice/v1/leave", "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var l struct{ Done bool }
		if err := lines.Decode(&l); err != nil || l.Done {
			return err
		}
	}
}

func (n *Node) client(socket string, limit time.Duration) http.Client {
	return http.Client{
		Timeout: limit,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.RunDir, socket))
		}},
	}
}

func (n *Node) ask(socket, path string) ([]byte, error) {
	c := n.client(socket, 20*time.Second)
	resp, err := c.Get("http://sluice" + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, resp.Status, body)
	}
	return body, err
}
