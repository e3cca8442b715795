package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/vishvananda/netlink"
)

// The bars of BenchmarkADD and BenchmarkStart. Fewer rounds say too little.
const (
	enoughRounds  = 20
	startLimit    = 5 * time.Millisecond
	residentLimit = 20 << 20
)

var stripped = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/run", "sluice-cni-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "sluice-cni")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return out, nil
})

const stdin = `{"cniVersion":"1.0.0","name":"net","type":"sluice-cni","prevResult":{"cniVersion":"1.0.0",
	"interfaces":[{"name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.1.0.2/24","interface":0}]}}`

func start(b testing.TB, verb, netns string) *exec.Cmd {
	b.Helper()
	path, err := stripped()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=a", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin", "CNI_NETNS=" + netns, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

// podNamespace is a pod as the plugin before ours leaves it.
func podNamespace(b testing.TB) *lab.Namespace {
	b.Helper()
	ns, err := lab.NewAt(filepath.Join("/run/netns", strconv.FormatInt(time.Now().UnixNano(), 36)))
	if err != nil {
		b.Fatal(err)
	}
	err = ns.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "far"})
	})
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

// contestant loads the rules of the default configuration into a fresh namespace
// with one or more programs.
type contestant struct {
	name  string
	load  func(b testing.TB, ns *lab.Namespace) time.Duration
	times []time.Duration
}

// BenchmarkADD runs the plugin from exec to exit, beside what loads the same rules
// without it: interleaved, each time in a fresh namespace, medians compared.
func BenchmarkADD(b *testing.B) {
	field := []*contestant{
		{name: "sluice-cni", load: func(b testing.TB, ns *lab.Namespace) time.Duration { return timed(b, start(b, "ADD", ns.Path())) }},
		{name: "nft-f", load: within("nft", nftText(b), "-f", "-")},
		restores(b, "iptables-nft-restore", iptables.NFT),
		restores(b, "iptables-legacy-restore", iptables.Legacy),
		perRule(b, "exec-per-rule-nft", iptables.NFT),
		perRule(b, "exec-per-rule-legacy", iptables.Legacy),
	}
	for b.Loop() {
		for _, c := range field {
			ns := podNamespace(b)
			c.times = append(c.times, c.load(b, ns))
			ns.Close()
		}
	}
	own := median(field[0].times)
	for _, c := range field {
		b.ReportMetric(float64(median(c.times).Microseconds())/1000, c.name+"-ms")
	}
	b.ReportMetric(0, "ns/op")
	bar := func(than int, most float64) {
		ratio := float64(own) / float64(median(field[than].times))
		b.ReportMetric(ratio, "×"+field[than].name)
		if b.N >= enoughRounds && ratio > most {
			b.Errorf("ADD takes %v, %.2f of %s's %v; the bar is %.2f", own, ratio, field[than].name, median(field[than].times), most)
		}
	}
	bar(2, 1)
	bar(4, 0.2)
	bar(5, 0.2)
}

// BenchmarkStart is what every call of the plugin costs, whatever it is for, beside
// a Go program that does nothing, and the most memory that an ADD takes. On a machine
// where the empty program alone uses up half of the bar, only the difference is
// judged, by the other half.
func BenchmarkStart(b *testing.B) {
	empty := emptyProgram(b)
	var times, floor []time.Duration
	for b.Loop() {
		times = append(times, timed(b, start(b, "VERSION", "")))
		floor = append(floor, timed(b, exec.Command(empty)))
	}
	most := resident(b)
	b.ReportMetric(float64(median(times).Microseconds())/1000, "start-ms")
	b.ReportMetric(float64(median(floor).Microseconds())/1000, "empty-program-ms")
	b.ReportMetric(float64(most)/(1<<20), "peak-MiB")
	b.ReportMetric(0, "ns/op")
	limit := max(startLimit, median(floor)+startLimit/2)
	if b.N >= enoughRounds && median(times) > limit {
		b.Errorf("start-up takes %v, an empty program %v; the bar is %v", median(times), median(floor), limit)
	}
	if most == 0 || most > residentLimit {
		b.Errorf("%d bytes resident; the bar is %d", most, residentLimit)
	}
}

// emptyProgram is what any Go program costs on this machine.
func emptyProgram(b testing.TB) string {
	b.Helper()
	dir := b.TempDir()
	source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "empty")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	return out
}

// resident is the most memory an ADD has had. Its result finds no room, so the
// process is still there to be asked when all work is done.
func resident(b testing.TB) (most uint64) {
	b.Helper()
	ns := podNamespace(b)
	defer ns.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if _, err := writer.Write(make([]byte, 64<<10)); err != nil {
		b.Fatal(err)
	}
	cmd := start(b, "ADD", ns.Path())
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case <-ended:
			return most
		case <-time.After(5 * time.Millisecond):
			most = max(most, highWater(cmd.Process.Pid))
		}
	}
}

func highWater(pid int) uint64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(data), "VmHWM:")
	kib, _ := strconv.ParseUint(strings.Fields(after + " 0")[0], 10, 64)
	return kib << 10
}

func timed(b testing.TB, cmd *exec.Cmd) time.Duration {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, &out)
	}
	return time.Since(began)
}

// within runs a program inside the namespace with text on its standard input.
func within(program, text string, args ...string) func(testing.TB, *lab.Namespace) time.Duration {
	return func(b testing.TB, ns *lab.Namespace) (took time.Duration) {
		b.Helper()
		err := ns.Do(func() error {
			cmd := exec.Command(program, args...)
			cmd.Stdin = strings.NewReader(text)
			took = timed(b, cmd)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
}

func defaultPlan(b testing.TB) rules.Plan {
	b.Helper()
	plan, err := rules.NewPlan(rules.Default())
	if err != nil {
		b.Fatal(err)
	}
	return plan
}

// nftText is the same ruleset for nft: the plan prints itself with one egress
// chain as an example.
func nftText(b testing.TB) string {
	b.Helper()
	text := defaultPlan(b).String()
	at := strings.Index(text, "\tchain egress_IFACE")
	if at < 0 {
		b.Fatalf("no egress chain in\n%s", text)
	}
	end := at + strings.Index(text[at:], "\n\t}\n") + len("\n\t}\n")
	var chains strings.Builder
	for _, name := range []string{"lo", "eth0", "far"} {
		chains.WriteString(strings.ReplaceAll(text[at:end], "IFACE", name))
	}
	return text[:at] + chains.String() + text[end:]
}

// saved is what iptables-save prints of the rules that rules/iptables makes, one
// text a family.
func saved(b testing.TB, v iptables.Variant) [2]string {
	b.Helper()
	firewall, err := iptables.Find(v)
	if err != nil {
		b.Fatal(err)
	}
	ns := podNamespace(b)
	defer ns.Close()
	if err := firewall.Apply(ns.FD(), defaultPlan(b)); err != nil {
		b.Fatal(err)
	}
	var out [2]string
	for i, program := range programsOf(v) {
		err := ns.Do(func() error {
			text, err := exec.Command(program + "-save").Output()
			out[i] = string(text)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return out
}

func programsOf(v iptables.Variant) [2]string {
	if v == iptables.Legacy {
		return [2]string{"iptables-legacy", "ip6tables-legacy"}
	}
	return [2]string{"iptables-nft", "ip6tables-nft"}
}

// restores loads both families with one program each.
func restores(b testing.TB, name string, v iptables.Variant) *contestant {
	b.Helper()
	programs, texts := programsOf(v), saved(b, v)
	return &contestant{name: name, load: func(b testing.TB, ns *lab.Namespace) (took time.Duration) {
		for i, program := range programs {
			took += within(program+"-restore", texts[i], "--noflush", "--wait")(b, ns)
		}
		return took
	}}
}

// perRule loads both families with a program for each chain and rule.
func perRule(b testing.TB, name string, v iptables.Variant) *contestant {
	b.Helper()
	programs, texts := programsOf(v), saved(b, v)
	return &contestant{name: name, load: func(b testing.TB, ns *lab.Namespace) (took time.Duration) {
		for i, program := range programs {
			for _, args := range commands(b, texts[i]) {
				took += within(program, "", args...)(b, ns)
			}
		}
		return took
	}}
}

// commands turns iptables-save's text into the arguments of single commands.
func commands(b testing.TB, text string) (out [][]string) {
	b.Helper()
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":SLUICE_"):
			chain, _, _ := strings.Cut(line[1:], " ")
			out = append(out, []string{"-w", "-t", table, "-N", chain})
		case strings.HasPrefix(line, "-A "):
			out = append(out, append([]string{"-w", "-t", table}, words(line)...))
		}
	}
	return out
}

// words splits a line where no quotes hold it together.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}
