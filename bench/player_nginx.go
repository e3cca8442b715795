package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// nginx is Debian's nginx, configured for the same job.
type nginx struct{}

func (nginx) name() string          { return "nginx" }
func (nginx) clocks(main int) []int { return append(children(main), main) }

// nginxStream is where Debian keeps the module for TCP and TLS.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

func (nginx) prepare(o options, scene scene, dir string, ports serverPorts) (*exec.Cmd, error) {
	program, err := exec.LookPath("nginx")
	if err != nil || scene == manyHostsScene || scene == h2Scene {
		return nil, nil // it speaks no HTTP/2 to servers
	}
	server := fmt.Sprintf("127.0.0.1:%d", scene.server(ports))
	var module, body string
	switch scene {
	case httpScene:
		body = nginxHTTP(dir, server, "proxy_pass http://b;")
	case originationScene:
		body = nginxHTTP(dir, server, fmt.Sprintf(`proxy_pass https://b;
			proxy_ssl_verify on; proxy_ssl_trusted_certificate %s;
			proxy_ssl_server_name on; proxy_ssl_name %s; proxy_ssl_protocols TLSv1.2 TLSv1.3;`, ports.CA, host))
	default:
		if _, err := os.Stat(nginxStream); err != nil {
			return nil, nil
		}
		module = "load_module " + nginxStream + ";"
		body = nginxTCP(server, scene == tlsScene)
	}
	text := fmt.Sprintf(`%s
daemon off; worker_processes %d; pid %s/pid; error_log stderr error; user root;
worker_rlimit_nofile 20000;
events { worker_connections 9900; }
%s
`, module, o.threads, dir, body)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return exec.Command(program, "-p", dir, "-c", file, "-e", "stderr"), nil
}

func nginxHTTP(dir, server, pass string) string {
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s; ", kind, dir, kind)
	}
	return fmt.Sprintf(`http {
	access_log off; %s
	keepalive_timeout 1h; keepalive_requests 100000000;
	upstream b { server %s; keepalive 512; keepalive_requests 100000000; keepalive_timeout 1h; }
	server { listen 127.0.0.1:15001 default_server; return 502; }
	server {
		listen 127.0.0.1:15001; server_name %s;
		location / {
			proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
			%s
		}
	}
}`, temp, server, host, pass)
}

func nginxTCP(server string, byName bool) string {
	if !byName {
		return fmt.Sprintf("stream { server { listen 127.0.0.1:15001; proxy_pass %s; } }", server)
	}
	return fmt.Sprintf(`stream {
	map $ssl_preread_server_name $to { %s %s; }
	server { listen 127.0.0.1:15001; ssl_preread on; proxy_pass $to; }
}`, host, server)
}
