package node

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// The addresses of the internet that pods of these tests talk to: one that is captured
// and one that is not.
const captured, free = "192.0.2.10", "198.51.100.10"

// internet is a namespace with those addresses, one cable away from the node.
func internet(t *testing.T) *lab.Namespace {
	t.Helper()
	node, err := lab.Current()
	must(t, err)
	t.Cleanup(func() { node.Close() })
	net := labtest.New(t)
	must(t, lab.Connect(
		lab.End{In: node, Name: "uplink", Addresses: []netip.Prefix{netip.MustParsePrefix("172.30.0.2/24")}},
		lab.End{In: net, Name: "node", Addresses: []netip.Prefix{netip.MustParsePrefix("172.30.0.1/24")}}))
	// The namespace's end would take the cable away too, but only some time later.
	t.Cleanup(func() { must(t, node.Do(func() error { return cut("uplink") })) })
	must(t, node.Do(func() error {
		if err := lab.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		return lab.AddRoute("uplink", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("172.30.0.1"))
	}))
	must(t, net.Do(func() error {
		for _, a := range []string{captured, free} {
			if err := lab.AddAddress("lo", netip.MustParsePrefix(a+"/32")); err != nil {
				return err
			}
		}
		return lab.AddRoute("node", netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("172.30.0.2"))
	}))
	return net
}

func cut(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// web serves the client's address at port 80 of an address of the internet.
func web(t *testing.T, in *lab.Namespace, address string) {
	t.Helper()
	l, err := in.Listen("tcp", net.JoinHostPort(address, "80"))
	must(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// conflist writes the network configuration of the tests: ptp with addresses of its
// own, portmap, and sluice-cni with these fields.
func conflist(t *testing.T, dir string, r programs.Runtime, sluice string) {
	t.Helper()
	version := "1.0.0" // the newest that containerd 1.6 takes
	if strings.HasPrefix(r.Version, "2.") {
		version = "1.1.0"
	}
	list := fmt.Sprintf(`{"cniVersion":%q,"name":"podnet","plugins":[
 {"type":"ptp","mtu":1500,"ipMasq":false,"ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}},
 {"type":"sluice-cni","capabilities":{"io.kubernetes.cri.pod-annotations":true},%s}]}`, version, sluice)
	must(t, os.WriteFile(filepath.Join(dir, "10-podnet.conflist"), []byte(list), 0o644))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience bounds every wait of these tests. It is long since the machine may be busy.
const patience = time.Minute

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
