package plugin_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
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

func TestAddPassesPrevResultOnUnchanged(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		for name, body := range map[string]string{
			"everything":      `"interfaces":[{"name":"veth0","mac":"00:00:00:00:00:01"},{"name":"eth0","mtu":1400,"sandbox":"/s","socketPath":"/p","pciID":"1"}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":1},{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1300,"table":100,"scope":0}],"dns":{"nameservers":["10.96.0.10"],"search":["a"]},"new":{"field":[1.5]}`,
			"no address":      `"dns":{}`,
			"dangling index":  `"ips":[{"address":"10.1.0.2/24","interface":7}],"dns":{}`,
			"IPv6 only":       `"ips":[{"address":"fd00::2/64"}],"dns":{}`,
			"empty":           `"ips":[]`,
			"markup in a DNS": `"dns":{"domain":"<a&b>"}`,
		} {
			if strings.HasPrefix(version, "0.") {
				body = strings.ReplaceAll(body, `{"address":"1`, `{"version":"4","address":"1`)
				body = strings.ReplaceAll(body, `{"address":"f`, `{"version":"6","address":"f`)
			}
			prev := fmt.Sprintf(`{"cniVersion":%q,%s}`, version, body)
			stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni","prevResult":%s}`, version, prev)
			out := call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t)
			out.succeeded(t)
			if !sameJSON(t, out.stdout, prev) {
				t.Errorf("%s, %s: in %s out %s", version, name, prev, out.stdout)
			}
		}
	}
}

func TestAddConvertsPrevResultToTheListsVersion(t *testing.T) {
	t.Parallel()
	versions := []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}
	for _, from := range versions {
		for _, to := range versions {
			ips := `{"version":"4","address":"10.1.0.2/24"}`
			stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni","prevResult":{"cniVersion":%q,"ips":[%s]}}`, to, from, ips)
			out := call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t)
			out.succeeded(t)
			var result struct {
				CNIVersion string
				IPs        []struct{ Address string }
			}
			if err := json.Unmarshal([]byte(out.stdout), &result); err != nil || result.CNIVersion != to || len(result.IPs) != 1 || result.IPs[0].Address != "10.1.0.2/24" {
				t.Errorf("%s to %s: %s", from, to, out.stdout)
			}
		}
	}
}

func TestBadInputIsOneClearErrorAndLeavesNothing(t *testing.T) {
	t.Parallel()
	plain := `"name":"net","type":"sluice-cni"`
	for _, tc := range []struct {
		name, stdin string
		code        int
		want        []string
	}{
		{"garbage", `{"cniVersion":`, 6, nil},
		{"no prevResult", `{"cniVersion":"1.0.0",` + plain + `}`, 7, []string{"prevResult is missing", "chained plugin"}},
		{"null prevResult", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":null}`, 7, []string{"prevResult is missing"}},
		{"odd prevResult", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":{"cniVersion":"1.0.0","ips":"none"}}`, 7, []string{"prevResult cannot be read"}},
		{"prevResult no object", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":[]}`, 7, []string{"prevResult cannot be read"}},
		{"prevResult of no version", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":{"cniVersion":"9.9.9"}}`, 7, []string{"prevResult cannot be read"}},
		{"unknown fields", conf(`"includeIPRange":"*","excludeports":[1]`), 7, []string{"excludeports: unknown field", "includeIPRange: unknown field"}},
		{"wrong case", conf(`"includeIpRanges":"*"`), 7, []string{"did you mean includeIPRanges"}},
		{"several bad values", conf(`"includeIPRanges":"10.0.0.0/33,nope","excludeOutboundPorts":["70000"],"exemptUIDs":"root"`), 7,
			[]string{`includeIPRanges element 1 "10.0.0.0/33"`, `includeIPRanges element 2 "nope"`, `excludeOutboundPorts element 1 "70000"`, `exemptUIDs element 1 "root"`}},
		{"impossible combination", conf(`"exemption":"mark","exemptUIDs":"1337"`), 7, []string{"exemptMark", "exemptUIDs"}},
		{"given twice", conf(`"outboundPort":1,"outboundPort":2`), 7, []string{"outboundPort: given twice"}},
		{"old version", `{"cniVersion":"0.2.0",` + plain + `,"prevResult":` + previous + `}`, 1, []string{"incompatible CNI versions"}},
		{"no name", `{"cniVersion":"1.0.0","type":"sluice-cni","prevResult":` + previous + `}`, 7, []string{"name"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			f := call{verb: "ADD", netns: ns.Path(), stdin: tc.stdin}.run(t).failed(t)
			if f.Code != tc.code {
				t.Errorf("code %d, want %d: %+v", f.Code, tc.code, f)
			}
			for _, want := range tc.want {
				if !strings.Contains(f.Msg+" "+f.Details, want) {
					t.Errorf("%+v does not say %q", f, want)
				}
			}
			if left := tables(t, ns); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestErrorsCarryTheListsVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		f := call{verb: "ADD", netns: pod(t).Path(), stdin: fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni"}`, version)}.run(t).failed(t)
		if f.CNIVersion != version {
			t.Errorf("error in version %s, want %s", f.CNIVersion, version)
		}
	}
}

func TestStandardKeysOfAnyPluginAreAccepted(t *testing.T) {
	t.Parallel()
	stdin := conf(`"cniVersions":["0.4.0","1.0.0"],"capabilities":{"portMappings":true},"runtimeConfig":{"a":1},"args":{"cni":{"b":2}},"ipam":{"type":"x"},"dns":{},"ipMasq":true,"disableCheck":false,"disableGC":false,"loadOnlyInlinedPlugins":true,"cni.dev/valid-attachments":[],"cni.dev/other":1`)
	call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t).succeeded(t)
}

func TestOnlyANetworkNamespaceOfAPodIsProgrammed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for netns, want := range map[string]string{
		"/run/netns/none":        "does not exist",
		file:                     "is no network namespace",
		"/proc/self/ns/mnt":      "is no network namespace",
		"/proc/self/ns/net":      "host's own",
		"/proc/thread-self/ns/x": "does not exist",
	} {
		for _, verb := range []string{"ADD", "CHECK"} {
			f := call{verb: verb, netns: netns, stdin: conf("")}.run(t).failed(t)
			if f.Code != 8 || !strings.Contains(f.Msg, want) {
				t.Errorf("%s in %s: %+v; want %q", verb, netns, f, want)
			}
		}
		del := call{verb: "DEL", netns: netns, stdin: conf("")}.run(t)
		if del.code != 0 || del.stdout != "" {
			t.Errorf("DEL in %s: %+v", netns, del)
		}
	}
	if f := (call{verb: "ADD", stdin: conf("")}).run(t).failed(t); f.Code != 4 {
		t.Errorf("ADD without CNI_NETNS: %+v", f)
	}
	here, err := lab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if left := tables(t, here); len(left) > 0 {
		t.Errorf("left on the host: %v", left)
	}
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

// wrap runs the plugin as on a kernel without nf_tables.
func wrap(cmd *exec.Cmd) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd.Args = append([]string{self, withoutNFTables}, cmd.Args...)
	cmd.Path = self
}

func TestAKernelWithoutNFTablesIsNamed(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"ADD", "CHECK"} {
		f := call{verb: verb, netns: pod(t).Path(), stdin: conf(""), prepare: wrap}.run(t).failed(t)
		if f.Code != 101 || !strings.Contains(f.Details, "nf_tables") {
			t.Errorf("%s: %+v", verb, f)
		}
	}
	status := `{"cniVersion":"1.1.0","name":"net","type":"sluice-cni"}`
	if f := (call{verb: "STATUS", stdin: status, prepare: wrap}).run(t).failed(t); f.Code != 50 || !strings.Contains(f.Details, "nf_tables") {
		t.Errorf("STATUS: %+v", f)
	}
}

func TestAnOrdinaryUserIsToldToBeRoot(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	ns := pod(t)
	nobody := func(cmd *exec.Cmd) {
		copied := filepath.Join("/run", fmt.Sprintf("sluice-cni-%d", time.Now().UnixNano())) // the cache may be root's alone
		data, err := os.ReadFile(binary())
		if err == nil {
			err = os.WriteFile(copied, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(copied) })
		cmd.Path = copied
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	for _, verb := range []string{"ADD", "CHECK"} {
		f := call{verb: verb, netns: ns.Path(), stdin: conf(""), prepare: nobody}.run(t).failed(t)
		if f.Code != 100 || !strings.Contains(f.Details, "needs root") {
			t.Errorf("%s: %+v", verb, f)
		}
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left: %v", left)
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

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}
