package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/internal/lab"
)

// root is the demo's own folder. lab.Isolate made /run a file system of this
// process alone, so that even kill -9 leaves nothing of it.
const root = "/run/sluice-demo"

// The names of the world, and addresses from the documentation ranges (RFC 5737)
// for all that the page does not give.
const (
	hostHTTPBin  = "httpbin.org"
	hostGoogle   = "www.google.com"
	hostDatabase = "db.example.com"

	podSubnet = "198.51.100.0/24"
)

var (
	addrHTTPBin  = netip.MustParseAddr("203.0.113.10")
	addrGoogle   = netip.MustParseAddr("203.0.113.20")
	addrDatabase = netip.MustParseAddr("203.0.113.30")
	addrDNS      = netip.MustParseAddr("203.0.113.53")

	nodeToInternet = netip.MustParsePrefix("192.0.2.1/30")
	internetToNode = netip.MustParsePrefix("192.0.2.2/30")
	nodeToCluster  = netip.MustParsePrefix("192.0.2.5/30")
	clusterToNode  = netip.MustParsePrefix("192.0.2.6/30")
	everywhere     = netip.MustParsePrefix("0.0.0.0/0")
)

// world is everything around the commands.
type world struct {
	options  Options
	node     *lab.Namespace // where this process is
	internet *lab.Namespace
	cluster  *lab.Namespace
	upstream *upstream
	pod      *pod // nil while none is attached
	podCount int
	objects  int    // in the watched directory
	curl     string // the real one, "" when there is none
	// rawClient is the name of the client for what is not HTTP.
	rawClient string
	undo      []func() error
	broken    []error
}

func newWorld(ctx context.Context, o Options) (*world, error) {
	w := &world{options: o}
	for _, build := range []func() error{w.makeFolder, w.makeNetwork, w.openServices, w.useResolver} {
		if err := build(); err != nil {
			return nil, errors.Join(err, w.close())
		}
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), w.close())
		}
	}
	return w, nil
}

// close undoes everything, last first.
func (w *world) close() error {
	var errs []error
	for i := len(w.undo) - 1; i >= 0; i-- {
		errs = append(errs, w.undo[i]())
	}
	w.undo = nil
	return errors.Join(errs...)
}

func (w *world) later(f func() error) { w.undo = append(w.undo, f) }

// failure is what went wrong in the world itself, outside any step.
func (w *world) failure() error { return errors.Join(w.broken...) }

// makeFolder lays out the demo's files: what the commands find in PATH, the
// watched directory and the file that the page reads.
func (w *world) makeFolder() error {
	for _, dir := range []string{"bin", "config", "cluster", "cni"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	w.later(func() error { return os.RemoveAll(root) })
	programs := []string{"sluice", standIn}
	if path, err := exec.LookPath("curl"); err == nil {
		w.curl = path
	} else {
		programs = append(programs, "curl") // our own takes its place
	}
	w.rawClient = "curl"
	if w.curl != "" && !speaksTelnet(w.curl) { // some distributions build it for HTTP only
		w.rawClient = standIn
	}
	for _, name := range programs {
		if err := os.Symlink(w.options.Sluice, filepath.Join(root, "bin", name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, "cluster/config.yaml"), []byte("service_cluster_ip_range: 10.0.0.1/24\n"), 0o644)
}

func (w *world) clientName() string {
	if w.curl == "" {
		return "sluice's own small curl, since this machine has none"
	}
	return w.curl
}

func speaksTelnet(curl string) bool {
	out, err := exec.Command(curl, "--version").Output()
	return err == nil && slices.Contains(strings.Fields(string(out)), "telnet")
}

// makeNetwork cables the node to the internet and to the cluster.
func (w *world) makeNetwork() error {
	var err error
	if w.node, err = lab.Current(); err != nil {
		return err
	}
	w.later(w.node.Close)
	if err := w.node.Do(func() error { return lab.Sysctl("net/ipv4/ip_forward", "1") }); err != nil {
		return fmt.Errorf("let the node forward: %w", err)
	}
	internet := []netip.Addr{addrHTTPBin, addrGoogle, addrDatabase, addrDNS}
	if w.internet, err = w.attach("internet", nodeToInternet, internetToNode, internet); err != nil {
		return err
	}
	w.cluster, err = w.attach("cluster", nodeToCluster, clusterToNode, serviceAddresses())
	return err
}

// attach makes a namespace that has addresses, one cable from the node away.
func (w *world) attach(name string, near, far netip.Prefix, addresses []netip.Addr) (*lab.Namespace, error) {
	n, err := lab.New()
	if err != nil {
		return nil, err
	}
	w.later(n.Close)
	all := []netip.Prefix{far}
	for _, a := range addresses {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	err = lab.Connect(
		lab.End{In: w.node, Name: name, Addresses: []netip.Prefix{near}},
		lab.End{In: n, Name: "node", Addresses: all},
	)
	if err != nil {
		return nil, err
	}
	if err := n.Do(func() error { return lab.AddRoute("node", everywhere, near.Addr()) }); err != nil {
		return nil, err
	}
	return n, w.node.Do(func() error {
		for _, a := range addresses {
			if err := lab.AddRoute(name, netip.PrefixFrom(a, a.BitLen()), far.Addr()); err != nil {
				return err
			}
		}
		return nil
	})
}

// environment is what commands get: nothing of the caller's proxies or curl settings.
func (w *world) environment(extra ...string) []string {
	env := []string{
		"PATH=" + root + "/bin:" + os.Getenv("PATH"),
		"HOME=" + root, "LC_ALL=C",
		"SLUICE_CONFIG=" + configDir(),
		clientEnv + "=1",
	}
	for _, name := range []string{"GOCOVERDIR", "LD_LIBRARY_PATH"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}

func configDir() string { return filepath.Join(root, "config") }
