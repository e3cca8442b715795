package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// haproxy is Debian's HAProxy, configured for the same job: it looks at Host or the
// server name, verifies the server's certificate, keeps connections alive on both
// sides and shares them among clients.
type haproxy struct{}

func (haproxy) name() string          { return "haproxy" }
func (haproxy) clocks(main int) []int { return []int{main} }

func (haproxy) prepare(o options, scene scene, dir string, ports serverPorts) (*exec.Cmd, error) {
	program, err := exec.LookPath("haproxy")
	if err != nil || scene == manyHostsScene {
		return nil, nil
	}
	server := fmt.Sprintf("server s 127.0.0.1:%d", scene.server(ports))
	verified := fmt.Sprintf(" ssl verify required ca-file %s sni str(%s) verifyhost %s", ports.CA, host, host)
	var mode, bind, choose string
	switch scene {
	case httpScene:
		mode, choose = "http", "use_backend b if { req.hdr(host) -i "+host+" }"
	case originationScene:
		mode, choose, server = "http", "use_backend b if { req.hdr(host) -i "+host+" }", server+verified
	case h2Scene:
		mode, bind, choose = "http", " proto h2", "use_backend b if { req.hdr(host) -i "+host+" }"
		server += verified + " alpn h2"
	case tcpScene:
		mode, choose = "tcp", "use_backend b"
	case tlsScene:
		mode = "tcp"
		choose = "tcp-request inspect-delay 5s\n\ttcp-request content accept if { req_ssl_hello_type 1 }\n" +
			"\tuse_backend b if { req_ssl_sni -i " + host + " }"
	}
	text := fmt.Sprintf(`global
	nbthread %d
	maxconn 9000
defaults
	mode %s
	timeout connect 10s
	timeout client 1h
	timeout server 1h
frontend f
	bind 127.0.0.1:15001%s
	%s
backend b
	%s
	%s
`, o.threads, mode, bind, choose, reuse(mode), server)
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return exec.Command(program, "-db", "-f", file), nil
}

func reuse(mode string) string {
	if mode == "http" {
		return "http-reuse always"
	}
	return ""
}
