package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// A stage is one contestant at work: a namespace with rules, the server it
// forwards to, and its processes.
//
//	client ── 198.51.100.1:port ─▶ redirected to 127.0.0.1:15001, the contestant ─▶ 127.0.0.1, the server
type stage struct {
	player   player
	pod, out *lab.Namespace
	server   *actor
	ports    serverPorts
	program  *exec.Cmd
	clocks   []int // the processes whose time counts
	dir      string
	scene    scene
	rate     float64 // requests per second in open loop
	warm     bool    // its memory has been measured
}

// The destinations that clients connect to. Nobody is there: everything is redirected.
const (
	destination = "198.51.100.1"
	httpPort    = 80
	tcpPort     = 5000
	tlsPort     = 443
)

func openStage(o options, p player, scene scene, dir string) (*stage, error) {
	s := &stage{player: p, scene: scene, dir: filepath.Join(dir, p.name()+"-"+string(scene))}
	if err := s.build(); err != nil {
		s.close()
		return nil, err
	}
	if err := s.start(o); err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", p.name(), err)
	}
	return s, nil
}

// build makes a pod with a way out, and rules that redirect all of it.
func (s *stage) build() error {
	var err, err2 error
	s.pod, err = lab.New()
	s.out, err2 = lab.New()
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	end := func(in *lab.Namespace, address string) lab.End {
		return lab.End{In: in, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	if err := lab.Connect(end(s.pod, "10.9.0.2/24"), end(s.out, "10.9.0.1/24")); err != nil {
		return err
	}
	if err := s.pod.Do(func() error {
		return errors.Join(
			lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.9.0.1")),
			lab.Sysctl("net/ipv4/ip_local_port_range", "10000 65000"))
	}); err != nil {
		return err
	}
	plan, err := rules.NewPlan(rules.Default())
	if err != nil {
		return err
	}
	return nft.Apply(s.pod.FD(), plan)
}

func (s *stage) close() {
	if s.program != nil {
		s.program.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { s.program.Process.Kill() })
		s.program.Wait()
		late.Stop()
	}
	if s.server != nil {
		s.server.end()
	}
	for _, n := range []*lab.Namespace{s.pod, s.out} {
		if n != nil {
			n.Close()
		}
	}
}

// target is where a client connects for a scene's port.
func target(port int) string { return destination + ":" + strconv.Itoa(port) }
