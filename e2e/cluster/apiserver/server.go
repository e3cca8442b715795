// Package apiserver runs etcd and kube-apiserver for tests, with static tokens and the
// serving certificate that kube-apiserver makes for itself.
package apiserver

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
)

// Options are of a control plane.
type Options struct {
	// Address is where the API server listens and what it tells clients; default
	// 127.0.0.1.
	Address string
	// Port is the API server's; 0 takes a free one.
	Port int
	// Flags are further flags of kube-apiserver.
	Flags []string
	// Users have a kubeconfig each, beside Admin. Groups follow the name after a space,
	// with commas: "system:node:node1 system:nodes".
	Users []string
}

// Admin is the user that may do everything.
const Admin = "admin"

// Services is the range of the cluster's Services.
const Services = "10.96.0.0/16"

// Server is a running control plane. Etcd's data stay as long as the test runs, so an
// API server that was ended comes back with all it knew.
type Server struct {
	Etcd, APIServer *daemon.Daemon

	t       testing.TB
	dir     string
	address string // host:port
}

// patience bounds the wait for either program: seconds where the machine is idle.
const patience = time.Minute

// Start starts both and waits until they are ready. Everything that they write is in dir.
func Start(t testing.TB, dir string, o Options) *Server {
	t.Helper()
	s := &Server{t: t, dir: dir}
	host := cmp.Or(o.Address, "127.0.0.1")
	must(t, s.keys())
	must(t, s.tokens(o.Users))
	// Whoever else takes a port between this and their use makes the program end; then
	// others are tried.
	for attempt := range 3 {
		ports, err := freePorts(host, 3)
		must(t, err)
		if o.Port != 0 {
			ports[2] = o.Port
		}
		s.address = net.JoinHostPort(host, fmt.Sprint(ports[2]))
		must(t, s.kubeconfigs(o.Users))
		if err = s.start(attempt, host, ports, o.Flags); err == nil {
			return s
		}
		if attempt == 2 {
			t.Fatalf("%v\n%s\n%s", err, s.Etcd.LogEnd(2000), s.APIServer.LogEnd(4000))
		}
		t.Logf("once more: %v", err)
	}
	panic("unreachable")
}

func (s *Server) start(attempt int, host string, ports []int, flags []string) error {
	etcd, peers := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	suffix := ""
	if attempt > 0 {
		suffix = fmt.Sprintf("-%d", attempt+1)
	}
	env := []string{"HOME=" + s.dir}
	s.Etcd = daemon.Start(s.t, "etcd"+suffix, s.dir, env, programs.Etcd(), "--data-dir", filepath.Join(s.dir, "etcd"+suffix), "--unsafe-no-fsync",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers, "--log-level", "warn")
	s.APIServer = s.Etcd // until there is one, for its log
	if err := s.Etcd.Reaches("etcd is healthy", patience, func() error { return get(http.DefaultClient, etcd+"/health", "") }); err != nil {
		return err
	}
	args := []string{
		"--etcd-servers=" + etcd, "--cert-dir=" + s.certificates(), "--secure-port=" + fmt.Sprint(ports[2]),
		"--bind-address=" + host, "--advertise-address=" + host,
		"--service-cluster-ip-range=" + Services, "--token-auth-file=" + filepath.Join(s.dir, "tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + s.PublicKeyFile(), "--service-account-signing-key-file=" + s.PrivateKeyFile(),
		"--profiling=false",
	}
	s.APIServer = daemon.Start(s.t, "kube-apiserver"+suffix, s.dir, env, filepath.Join(programs.Kubernetes(), "kube-apiserver"), append(args, flags...)...)
	return s.APIServer.Reaches("the API server is ready", patience, s.Ready)
}

// Ready is nil when the API server answers that it is.
func (s *Server) Ready() error {
	ca, err := os.ReadFile(s.CAFile())
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	return get(client, "https://"+s.address+"/readyz", token(Admin))
}

func get(c *http.Client, url, token string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, answer.Status, body)
	}
	return nil
}

// Stop ends the API server at once, as a crash does. Etcd goes on.
func (s *Server) Stop() { s.APIServer.Kill() }

// Restart starts an API server that was stopped, where it was, and waits until it is
// ready.
func (s *Server) Restart() {
	s.t.Helper()
	s.APIServer.Run()
	s.APIServer.Await("the API server is ready again", patience, s.Ready)
}

// Address is the API server's, as host:port.
func (s *Server) Address() string { return s.address }

func freePorts(host string, n int) (ports []int, err error) {
	var all []net.Listener
	defer func() {
		for _, l := range all {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		all = append(all, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
