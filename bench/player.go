package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A player is a contestant: it writes its configuration and says how it starts.
type player interface {
	name() string
	// prepare writes what the scene needs into dir. A nil command says that the
	// player has no way to do this job.
	prepare(o options, scene scene, dir string, ports serverPorts) (*exec.Cmd, error)
	// clocks are the processes that do the work, once the main one runs.
	clocks(main int) []int
}

// scene is a kind of work a contestant is configured for.
type scene string

const (
	httpScene        scene = "http"        // HTTP/1.1 by Host to a plain server
	manyHostsScene   scene = "many-hosts"  // the same, one host of ten thousand
	originationScene scene = "origination" // HTTP/1.1 by Host to a TLS server
	tcpScene         scene = "tcp"         // bytes by port
	tlsScene         scene = "tls"         // bytes by server name
	h2Scene          scene = "h2"          // HTTP/2 without TLS to HTTP/2 with it
)

// port is where a scene's clients connect.
func (s scene) port() int {
	switch s {
	case tcpScene:
		return tcpPort
	case tlsScene:
		return tlsPort
	}
	return httpPort
}

// server is the port of the server that a scene's bytes end at.
func (s scene) server(p serverPorts) int {
	switch s {
	case originationScene:
		return p.HTTPS
	case tcpScene:
		return p.TCP
	case tlsScene:
		return p.TLS
	case h2Scene:
		return p.H2
	}
	return p.HTTP
}

// start brings the server and the contestant up and waits until it listens.
func (s *stage) start(o options) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	var err error
	if s.server, err = startActor(s.pod, "server", lastCPU(), nil); err != nil {
		return err
	}
	if err := s.server.hear(&s.ports); err != nil {
		return err
	}
	cmd, err := s.player.prepare(o, s.scene, s.dir, s.ports)
	if err != nil || cmd == nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := s.pod.Start(cmd); err != nil {
		return err
	}
	s.program = cmd
	if err := s.awaitListener(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w; its log:\n%s", err, text)
	}
	s.clocks = s.player.clocks(cmd.Process.Pid)
	return nil
}

// awaitListener waits until something accepts connections on the proxy's port.
func (s *stage) awaitListener() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := s.pod.Do(func() error {
			c, err := net.Dial("tcp", "127.0.0.1:15001")
			if err == nil {
				c.Close()
			}
			return err
		})
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
