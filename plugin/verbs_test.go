package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tables names the nftables tables of a namespace.
func tables(t testing.TB, ns *lab.Namespace) []string {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, table := range found {
		names = append(names, table.Name)
	}
	return names
}

func TestAddProgramsCheckAgreesDelRemoves(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	with := func(verb string) outcome {
		return call{verb: verb, netns: ns.Path(), stdin: conf(`"includeIPRanges":"10.0.0.1/8","exemptUIDs":[1337,"7"],"outboundPort":"15001"`)}.run(t)
	}
	with("CHECK").failed(t)
	for range 2 { // a second ADD converges, a second DEL is no error
		add := with("ADD")
		add.succeeded(t)
		if !strings.Contains(add.stderr, "10.0.0.1/8 means 10.0.0.0/8") {
			t.Errorf("no warning about host bits: %q", add.stderr)
		}
		with("CHECK").succeeded(t)
	}
	for range 2 {
		del := with("DEL")
		del.succeeded(t)
		if del.stdout+del.stderr != "" {
			t.Errorf("DEL says %q %q", del.stdout, del.stderr)
		}
		if left := tables(t, ns); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	with("ADD").succeeded(t)
	with("CHECK").succeeded(t)
}

// lowerLoopback leaves a namespace the way `ip netns add` makes it.
func lowerLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetDown(lo)
}

// `ip netns add` leaves lo down, and redirected connections would hang.
func TestAddRaisesLoopbackAndCheckSeesItDown(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	if err := ns.Do(lowerLoopback); err != nil {
		t.Fatal(err)
	}
	call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
	call{verb: "CHECK", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	if _, err := ns.Dial(ctx, "tcp", "127.0.0.1:80"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("loopback does not carry: %v", err)
	}
	if err := ns.Do(lowerLoopback); err != nil {
		t.Fatal(err)
	}
	if f := (call{verb: "CHECK", netns: ns.Path(), stdin: conf("")}).run(t).failed(t); f.Code != 103 || !strings.Contains(f.Details, "lo: is down") {
		t.Errorf("%+v", f)
	}
	call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
}

func TestDelForgivesEverything(t *testing.T) {
	t.Parallel()
	gone := pod(t)
	path := gone.Path()
	gone.Close()
	for name, c := range map[string]call{
		"empty namespace":  {stdin: conf("")},
		"namespace gone":   {stdin: conf(""), netns: path},
		"never added":      {stdin: conf(""), netns: pod(t).Path()},
		"unknown fields":   {stdin: conf(`"nonsense":1,"includeIPRanges":"nope"`), netns: pod(t).Path()},
		"no prevResult":    {stdin: `{"cniVersion":"1.0.0","name":"net","type":"sluice-cni"}`, netns: pod(t).Path()},
		"odd prevResult":   {stdin: `{"cniVersion":"1.0.0","name":"net","type":"sluice-cni","prevResult":7}`, netns: pod(t).Path()},
		"no nf_tables":     {stdin: conf(""), netns: pod(t).Path(), prepare: wrap},
		"oldest version":   {stdin: `{"cniVersion":"0.3.1","name":"net","type":"sluice-cni"}`},
		"newest version":   {stdin: `{"cniVersion":"1.1.0","name":"net","type":"sluice-cni"}`},
		"a foreign prefix": {stdin: conf(`"cni.dev/x":1`)},
	} {
		c.verb = "DEL"
		if out := c.run(t); out.code != 0 || out.stdout != "" {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

func TestCheckNamesARuleThatIsGone(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	c.FlushChain(&nftables.Chain{Name: "output_nat", Table: &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	f := call{verb: "CHECK", netns: ns.Path(), stdin: conf("")}.run(t).failed(t)
	if f.Code != 103 || !strings.Contains(f.Details, `rule "included IPv4 range" is missing`) {
		t.Errorf("%+v", f)
	}
	if f := (call{verb: "CHECK", netns: ns.Path(), stdin: conf(`"includeIPRanges":"10.0.0.0/8"`)}).run(t).failed(t); f.Code != 103 {
		t.Errorf("another configuration: %+v", f)
	}
	call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
	call{verb: "CHECK", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
}

func TestStatusAndGC(t *testing.T) {
	t.Parallel()
	good := `{"cniVersion":"1.1.0","name":"net","type":"sluice-cni","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}`
	for _, verb := range []string{"STATUS", "GC"} {
		out := call{verb: verb, stdin: good}.run(t)
		out.succeeded(t)
		if out.stdout != "" {
			t.Errorf("%s prints %q", verb, out.stdout)
		}
	}
	bad := `{"cniVersion":"1.1.0","name":"net","type":"sluice-cni","nonTCP":"maybe"}`
	if f := (call{verb: "STATUS", stdin: bad}).run(t).failed(t); f.Code != 50 || !strings.Contains(f.Details, "nonTCP") {
		t.Errorf("STATUS with a bad configuration: %+v", f)
	}
}

func TestVersionListsEveryVersionThatCanChain(t *testing.T) {
	t.Parallel()
	out := call{verb: "VERSION"}.run(t)
	out.succeeded(t)
	var v struct{ SupportedVersions []string }
	if err := json.Unmarshal([]byte(out.stdout), &v); err != nil || fmt.Sprint(v.SupportedVersions) != "[0.3.1 0.4.0 1.0.0 1.1.0]" {
		t.Errorf("%s, %v", out.stdout, err)
	}
}

func TestRunByHandItSaysWhatItIs(t *testing.T) {
	t.Parallel()
	out := call{prepare: func(cmd *exec.Cmd) { cmd.Env = nil }}.run(t)
	if out.code != 0 || out.stdout != "" || !strings.Contains(strings.SplitN(out.stderr, "\n", 2)[0], "CNI plugin") {
		t.Errorf("%+v", out)
	}
	if f := (call{verb: "FROBNICATE", stdin: conf("")}).run(t).failed(t); f.Code != 4 {
		t.Errorf("unknown verb: %+v", f)
	}
}

func TestAddAfterAKilledAddConverges(t *testing.T) {
	t.Parallel()
	c, _, err := rules.Parse([]byte(`{"includeIPRanges":"10.0.0.0/8,2001:db8::/32","dnsCapture":true}`))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rules.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	stdin := conf(`"includeIPRanges":"10.0.0.0/8,2001:db8::/32","dnsCapture":true`)
	ns := pod(t)
	for range 25 {
		limit := time.Duration(1+rand.IntN(12000)) * time.Microsecond
		call{verb: "ADD", netns: ns.Path(), stdin: stdin, limit: limit}.run(t)
		// All or nothing: what is there is right, or is not there.
		if len(tables(t, ns)) > 0 {
			if err := nft.Check(ns.FD(), plan); err != nil {
				t.Fatal("half a ruleset: ", err)
			}
		}
		call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	}
}
