package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// These tests run the built `sluice exec`, on a machine of their own: a
// namespace whose loopback has a few addresses with servers.

// machine is where sluice exec runs.
type machine struct {
	*lab.Namespace
	config string
	asked  atomic.Int32 // requests that reached its web servers
}

var (
	webAddress   = netip.MustParseAddr("203.0.113.10")
	webAddress6  = netip.MustParseAddr("2001:db8::10")
	otherAddress = netip.MustParseAddr("198.51.100.10")
)

func newMachine(t *testing.T, resources ...string) *machine {
	t.Helper()
	m := &machine{Namespace: labtest.New(t), config: t.TempDir()}
	os.Chmod(m.config, 0o755)
	os.Chmod(filepath.Dir(m.config), 0o755)
	err := m.Do(func() error {
		for _, a := range []netip.Addr{webAddress, webAddress6, otherAddress} {
			if err := lab.AddAddress("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{webAddress, webAddress6, otherAddress} {
		l, err := m.Listen("tcp", netip.AddrPortFrom(a, 80).String())
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.asked.Add(1)
			fmt.Fprintf(w, "%s for %s", a, r.Host)
		})}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
	}
	for i, text := range resources {
		m.write(t, fmt.Sprintf("%d.yaml", i), text)
	}
	return m
}

func (m *machine) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.config, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// exec runs `sluice exec` on the machine, for a user.
func (m *machine) exec(t *testing.T, u user, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	// By descriptor: an ordinary user may not be able to walk to the files.
	var files []*os.File
	for _, path := range []string{sluicetest.File(), testBinary()} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := exec.Command("/proc/self/fd/3", append([]string{"exec", "--config", m.config}, args...)...)
	cmd.Args[0], cmd.ExtraFiles, cmd.Dir = "sluice", files, "/"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if u.sys != nil {
		sys := *u.sys
		cmd.SysProcAttr = &sys
	}
	err := m.Do(func() error { stdout, stderr, code = result(t, cmd); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return stdout, stderr, code
}

// inProbe is a command that runs a probe; its descriptor was handed to sluice,
// and sluice must leave it to the command.
func inProbe(name string, args ...string) []string {
	return append([]string{"--", "/usr/bin/env", probeEnv + "=" + name, "/proc/self/fd/4"}, args...)
}

// get is a command that fetches a URL, perhaps with another Host, and prints
// status and body.
func get(url string, host ...string) []string {
	return inProbe("get", append([]string{url}, host...)...)
}

func testBinary() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

const registered = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.10}]
`

func TestUnregisteredDestinationIsRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, url := range []string{"http://203.0.113.10/", "http://[2001:db8::10]/", "http://192.0.2.77/"} {
		out, complaints, _ := m.exec(t, user{}, get(url)...)
		if !strings.HasPrefix(out, "502 ") || complaints != "" {
			t.Errorf("%s: got %q, %q; want 502", url, out, complaints)
		}
	}
	if n := m.asked.Load(); n != 0 {
		t.Errorf("%d requests got out", n)
	}
}

func TestRegisteredDestinationIsReached(t *testing.T) {
	t.Parallel()
	m := newMachine(t, registered)
	out, complaints, _ := m.exec(t, user{}, get("http://192.0.2.77/", "web.example")...)
	if out != "200 203.0.113.10 for web.example\n" || complaints != "" {
		t.Errorf("got %q, %q", out, complaints)
	}
}

func TestAllowAnyLetsEverythingPass(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	out, _, _ := m.exec(t, user{}, append([]string{"--outbound-policy", "ALLOW_ANY"}, get("http://203.0.113.10/")...)...)
	if out != "200 203.0.113.10 for 203.0.113.10\n" {
		t.Errorf("got %q", out)
	}
}

func TestTheNamespaceDecidesWhichResourcesTheCommandFollows(t *testing.T) {
	t.Parallel()
	m := newMachine(t,
		strings.Replace(registered, "{name: web}", "{name: web, namespace: team-a}", 1)+"  exportTo: [.]\n",
		"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: open, namespace: team-b}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}\n",
	)
	for _, c := range []struct {
		flags     []string
		url, host string
		want      string
	}{
		{nil, "http://192.0.2.77/", "web.example", "502 "},
		{[]string{"-n", "default"}, "http://192.0.2.77/", "web.example", "502 "},
		{[]string{"-n", "team-a"}, "http://192.0.2.77/", "web.example", "200 203.0.113.10 for web.example"},
		{[]string{"--namespace=team-b"}, "http://203.0.113.10/", "web.example", "200 203.0.113.10 for web.example"},
	} {
		if out, complaints, _ := m.exec(t, user{}, append(c.flags, get(c.url, c.host)...)...); !strings.HasPrefix(out, c.want) {
			t.Errorf("%v %s: got %q, %q; want %q", c.flags, c.url, out, complaints, c.want)
		}
	}
}

func TestTheLabelsDecideWhichRulesTheCommandFollows(t *testing.T) {
	t.Parallel()
	m := newMachine(t, registered, `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web.example]
  http:
  - match: [{sourceLabels: {app: shop}}]
    directResponse: {status: 403}
  - route: [{destination: {host: web.example}}]
`)
	for labels, want := range map[string]string{"": "200 ", "app=shop,version=v1": "403 ", "app=other": "200 "} {
		if out, complaints, _ := m.exec(t, user{}, append([]string{"--labels", labels}, get("http://192.0.2.77/", "web.example")...)...); !strings.HasPrefix(out, want) {
			t.Errorf("%s: got %q, %q; want %q", labels, out, complaints, want)
		}
	}
	if _, complaints, code := m.exec(t, user{}, append([]string{"--labels", "shop"}, get("http://192.0.2.77/")...)...); code != 2 || !strings.Contains(complaints, `--labels "shop": not a label`) {
		t.Errorf("got %d, %q", code, complaints)
	}
}

func TestDestinationsOutsideTheRangesAreRelayedUntouched(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, c := range []struct {
		flags []string
		url   string
		want  string
	}{
		{[]string{"--include-ip-ranges", "198.51.100.0/24"}, "http://203.0.113.10/", "200 203.0.113.10"},
		{[]string{"--include-ip-ranges", "198.51.100.0/24"}, "http://198.51.100.10/", "502 "},
		{[]string{"--includeIPRanges", "198.51.100.0/24"}, "http://[2001:db8::10]/", "200 2001:db8::10"},
		{[]string{"--include-ip-ranges", ""}, "http://198.51.100.10/", "200 198.51.100.10"},
		{[]string{"--exclude-ip-ranges", "203.0.113.0/24"}, "http://203.0.113.10/", "200 203.0.113.10"},
		{[]string{"--exclude-ip-ranges", "203.0.113.0/24"}, "http://198.51.100.10/", "502 "},
	} {
		if out, complaints, _ := m.exec(t, user{}, append(c.flags, get(c.url)...)...); !strings.HasPrefix(out, c.want) {
			t.Errorf("%v %s: got %q, %q; want %q", c.flags, c.url, out, complaints, c.want)
		}
	}
}

func TestChangeIsInForceWithinASecond(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	written := make(chan struct{})
	go func() {
		defer close(written)
		await.Within(await.Patience, func() bool { return m.asked.Load() > 0 }) // the command is at work
		m.write(t, "late.yaml", registered)
	}()
	// First a request outside the ranges, which tells us that the command runs, then
	// governed ones until the name is known.
	flags := []string{"--exclude-ip-ranges", "198.51.100.0/24"}
	out, complaints, code := m.exec(t, user{}, append(flags, inProbe("change")...)...)
	<-written
	if code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, complaints)
	}
}

func TestNamesAreLookedUpByTheMachinesResolver(t *testing.T) {
	t.Parallel()
	m := newMachine(t, registered)
	m.resolveBy(t, "127.0.0.53", "web.example.", webAddress)
	eachUser(t, func(t *testing.T, u user) {
		out, complaints, _ := m.exec(t, u, get("http://web.example/")...)
		if out != "200 203.0.113.10 for web.example\n" {
			t.Errorf("got %q, %q", out, complaints)
		}
	})
}

// resolveBy makes /etc/resolv.conf, in this test binary's mount namespace, name a
// server on the machine that knows one name.
func (m *machine) resolveBy(t *testing.T, server, name string, address netip.Addr) {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(server), 53).String()
	packets, err := m.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := m.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == name && q.Question[0].Qtype == dns.TypeA {
			rr := &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: address.AsSlice()}
			a.Answer = append(a.Answer, rr)
		}
		w.WriteMsg(a)
	})
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+server+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(conf, target, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
}

func TestBadConfigurationStopsBeforeTheCommand(t *testing.T) {
	t.Parallel()
	touched := filepath.Join(t.TempDir(), "ran")
	m := newMachine(t, "kind: Nonsense\n", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: x}\nspec: {host: [a.example]}\n")
	out, complaints, code := m.exec(t, user{}, "--", "touch", touched)
	if code != 1 || out != "" || !strings.Contains(complaints, "0.yaml") || !strings.Contains(complaints, "1.yaml") {
		t.Errorf("exit code %d, want 1 and every error:\n%s", code, complaints)
	}
	for _, args := range [][]string{
		{"--outbound-policy", "NONE", "--include-ip-ranges", "nonsense"},
		{"--exclude-ip-ranges", "10.0.0.0/40"},
		{"-n", "Team_A"},
	} {
		if _, complaints, code := m.exec(t, user{}, append(args, "--", "touch", touched)...); code != 2 || complaints == "" {
			t.Errorf("%v: exit code %d: %s", args, code, complaints)
		}
	}
	if _, err := os.Stat(touched); err == nil {
		t.Error("the command ran")
	}
}

func TestWhatWasSentLastArrives(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	l, err := m.Listen("tcp", netip.AddrPortFrom(webAddress, 9).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		data, _ := io.ReadAll(c)
		got <- string(data)
	}()
	_, complaints, code := m.exec(t, user{}, append([]string{"--include-ip-ranges", ""}, inProbe("shout")...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, complaints)
	}
	select {
	case text := <-got:
		if text != shout {
			t.Errorf("%d bytes arrived, want %d", len(text), len(shout))
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing arrived")
	}
}

// The proxy of exec can be asked, by its own command too.
func TestWhatGovernsTheCommandCanBeAsked(t *testing.T) {
	t.Parallel()
	m := newMachine(t, registered)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	for question, want := range map[string]string{"routes": "web.example", "explain": "\nallowed: to outbound|80||web.example\n"} {
		args := []string{"--admin", socket, "--", sluicetest.File(), question, "--admin", socket}
		if question == "explain" {
			args = append(args, "--url", "http://web.example/")
		}
		if out, complaints, code := m.exec(t, user{}, args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, want %q in\n%s%s", question, code, want, out, complaints)
		}
	}
}

// As in a pod: a connection costs no calls for probes, and an idle one sends nothing.
func TestTheProxysConnectionsAreNotProbed(t *testing.T) {
	t.Parallel()
	m := newMachine(t, registered)
	if out, complaints, code := m.exec(t, user{}, inProbe("timers")...); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, complaints)
	}
}

func TestNothingOnTheMachineChanges(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	before := m.state(t)
	program := exec.Command(sluicetest.File(), append([]string{"exec", "--config", m.config}, inProbe("wait")...)...)
	self, err := os.Open(testBinary())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	program.ExtraFiles = []*os.File{self, self}
	said, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(program); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if during := m.state(t); during != before {
		t.Errorf("before:\n%s\nwhile the command runs:\n%s", before, during)
	}
	program.Process.Kill()
	io.Copy(io.Discard, said) // the command, which holds it, is gone too
	program.Wait()
	if after := m.state(t); after != before {
		t.Errorf("before:\n%s\nafter kill -9:\n%s", before, after)
	}
}

// state is what a program could change of a machine's network.
func (m *machine) state(t *testing.T) (text string) {
	t.Helper()
	err := m.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			text += fmt.Sprintln(l.Attrs().Name, l.Attrs().OperState)
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		text += fmt.Sprintln(routes)
		for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			value, err := os.ReadFile("/proc/sys/" + name)
			if err != nil {
				return err
			}
			text += name + " " + string(value)
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		text += fmt.Sprintln(len(tables), "tables")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestForbiddenNamespacesAreExplained(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	program, err := os.Open(sluicetest.File())
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	// The limit belongs to a user namespace of the test's own.
	cmd := exec.Command("sh", "-c", "echo 0 > /proc/sys/user/max_net_namespaces; exec /proc/self/fd/3 exec --config "+m.config+" -- true")
	cmd.ExtraFiles = []*os.File{program}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, complaints, code := result(t, cmd)
	if code != 1 || out != "" {
		t.Errorf("exit code %d, want 1; %q", code, out)
	}
	for _, want := range []string{"may not make", "user.max_net_namespaces", "hint: ", "sudo"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("%q is not in:\n%s", want, complaints)
		}
	}
}
