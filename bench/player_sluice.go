package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
)

// sluice is the program as it ships: `sluice proxy` with its defaults, save the
// access log, which the others do not write either.
type sluice struct{}

func (sluice) name() string          { return "sluice" }
func (sluice) clocks(main int) []int { return []int{main} }

func (sluice) prepare(o options, scene scene, dir string, ports serverPorts) (*exec.Cmd, error) {
	egress := filepath.Join(dir, "egress")
	if err := os.MkdirAll(egress, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(egress, "rules.yaml"), []byte(resources(scene, ports)), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command(sluicetest.File(), "proxy", "--config", egress, "--access-log", "off")
	if o.profile != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd = exec.Command(self, fmt.Sprintf(`{"Config":%q,"Profile":%q}`, egress, o.profile))
		cmd.Env = append(os.Environ(), roleEnv+"=proxy")
	}
	cmd.Env = append(cmd.Environ(), fmt.Sprintf("GOMAXPROCS=%d", o.threads))
	return cmd, nil
}

// protocols are what the scenes' ports are declared as.
var protocols = map[scene]string{
	httpScene: "HTTP", manyHostsScene: "HTTP", originationScene: "HTTP", tcpScene: "TCP", tlsScene: "TLS", h2Scene: "HTTP2",
}

// resources registers the host of the scene, and many others where the scene says so.
func resources(scene scene, ports serverPorts) string {
	var b strings.Builder
	entry := func(name, host string) {
		fmt.Fprintf(&b, `
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%s]
  ports: [{number: %d, name: port, protocol: %s}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {port: %d}}]
`, name, host, scene.port(), protocols[scene], scene.server(ports))
	}
	entry("a", host)
	if scene == manyHostsScene {
		for i := range 9999 {
			entry(fmt.Sprintf("other-%d", i), fmt.Sprintf("host-%d.test", i))
		}
	}
	if scene == originationScene || scene == h2Scene {
		upgrade := ""
		if scene == h2Scene {
			upgrade = "\n    connectionPool: {http: {h2UpgradePolicy: UPGRADE}}"
		}
		fmt.Fprintf(&b, `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: %s
  trafficPolicy:
    tls: {mode: SIMPLE, caCertificates: %s}%s
`, host, ports.CA, upgrade)
	}
	return b.String()
}

// proxyArgs are what the proxy inside this program needs to be profiled.
type proxyArgs struct{ Config, Profile string }

// profiledProxy is `sluice proxy` in this program, under the CPU profiler until SIGTERM.
func profiledProxy(a proxyArgs) error {
	out, err := os.Create(a.Profile)
	if err != nil {
		return err
	}
	defer out.Close()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: 15001})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	store, err := file.Open(a.Config, file.Options{Log: log, Options: mesh.Options{Policy: mesh.RegistryOnly}})
	if err != nil {
		return err
	}
	server, err := proxy.New(proxy.Config{Listeners: []*net.TCPListener{l}, Log: log})
	if err != nil {
		return err
	}
	store.Subscribe(server.Update)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { store.Run(ctx) })
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = server.Serve(ctx)
	pprof.StopCPUProfile()
	running.Wait()
	return err
}
