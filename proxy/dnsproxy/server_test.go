package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

func TestRegisteredNamesAreAnsweredWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db")+tcp("b", "b.db")+serviceEntry("o", "hosts: [own.test], addresses: [192.0.2.7, '2001:db8::7', 10.0.0.0/8], ports: [{number: 80, name: p, protocol: TCP}], resolution: STATIC, endpoints: [{address: 192.0.2.1}]"))
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"a.db", dns.TypeA, "NOERROR a.db/A=" + r.v4("a.db")},
		{"b.db", dns.TypeAAAA, "NOERROR b.db/AAAA=" + r.v6("b.db")},
		{"A.Db", dns.TypeA, "NOERROR a.db/A=" + r.v4("a.db")},
		{"own.test", dns.TypeA, "NOERROR own.test/A=192.0.2.7"},
		{"own.test", dns.TypeAAAA, "NOERROR own.test/AAAA=2001:db8::7"},
		{"a.db", dns.TypeHTTPS, "NOERROR"},
		{"_8443._https.own.test", dns.TypeHTTPS, "NOERROR"},
		{"_dns.a.db", dns.TypeSVCB, "NOERROR"},
		{"a.db", dns.TypeANY, "NOERROR a.db/HINFO"},
	} {
		m := r.ask(tc.name, tc.qtype)
		if got := brief(m); got != tc.want || !m.Authoritative || !m.RecursionAvailable {
			t.Errorf("%s %s: %s, want %s", tc.name, dns.TypeToString[tc.qtype], got, tc.want)
		}
		for _, rr := range m.Answer {
			if rr.Header().Ttl != 30 {
				t.Errorf("%s lives %d s", rr, rr.Header().Ttl)
			}
		}
	}
	if asked := r.questions(); len(asked) > 0 {
		t.Errorf("the resolvers were asked %v", asked)
	}
}

func TestAReverseLookupOfAVirtualAddressGivesItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"))
	for _, addr := range []string{r.v4("a.db"), r.v6("a.db")} {
		name, err := dns.ReverseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := brief(r.ask(name, dns.TypePTR)); got != "NOERROR "+strings.TrimSuffix(name, ".")+"/PTR=a.db" {
			t.Errorf("%s: %s", addr, got)
		}
	}
	if got := brief(r.ask("77.77.240.240.in-addr.arpa", dns.TypePTR)); got != "NXDOMAIN" {
		t.Error(got)
	}
	if asked := r.questions(); len(asked) > 0 {
		t.Errorf("the resolvers were asked %v", asked)
	}
}

func TestAPodsSearchIsAnsweredAtItsFirstStep(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "api.example.com")+http("w", "*.wild.com", "NONE"))
	r.answers(zone("x.wild.com. 60 IN A 192.0.2.1"))
	const expanded = "api.example.com.default.svc.cluster.local"
	if got := brief(r.ask(expanded, dns.TypeA)); got != "NOERROR "+expanded+"/CNAME=api.example.com api.example.com/A="+r.v4("api.example.com") {
		t.Error(got)
	}
	if asked := r.questions(); len(asked) > 0 {
		t.Errorf("the resolvers were asked %v", asked)
	}
	const wild = "x.wild.com.default.svc.cluster.local"
	if got := brief(r.ask(wild, dns.TypeA)); got != "NOERROR "+wild+"/CNAME=x.wild.com x.wild.com/A=192.0.2.1" {
		t.Error(got)
	}
	if asked := r.questions(); !slices.Equal(asked, []string{"x.wild.com A"}) {
		t.Errorf("the resolvers were asked %v", asked)
	}
}

// istio#35421: a name that exists must not be answered as another one, however much
// of it is registered.
func TestANameThatExistsIsNotTakenForAStrippedOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "kubernetes.default")+tcp("b", "db.mongo"))
	r.answers(zone("kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.1", "db.mongo.default.svc.cluster.local. 5 IN A 10.1.2.3"))
	for name, want := range map[string]string{
		"kubernetes.default.svc.cluster.local":         "NOERROR kubernetes.default.svc.cluster.local/A=10.96.0.1",
		"db.mongo.default.svc.cluster.local":           "NOERROR db.mongo.default.svc.cluster.local/A=10.1.2.3",
		"kubernetes.default.default.svc.cluster.local": "NOERROR kubernetes.default.default.svc.cluster.local/CNAME=kubernetes.default kubernetes.default/A=" + r.v4("kubernetes.default"),
		"kubernetes.default":                           "NOERROR kubernetes.default/A=" + r.v4("kubernetes.default"),
	} {
		for range 2 { // asked, and from the cache
			if got := brief(r.ask(name, dns.TypeA)); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
	if asked := r.questions(); len(asked) != 3 {
		t.Errorf("the resolvers were asked %v", asked)
	}
	// Where nobody can say, what is registered is the better answer.
	r.answers(func(*dns.Msg) (*dns.Msg, error) { return nil, os.ErrDeadlineExceeded })
	if got := brief(r.ask("db.mongo.svc.cluster.local", dns.TypeA)); !strings.HasSuffix(got, "db.mongo/A="+r.v4("db.mongo")) {
		t.Error(got)
	}
}

func TestAFamilyWithoutARouteHasNoVirtualAddress(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	v4, v6 := true, false
	r := newRig(t, tcp("a", "a.db"), func(c *Config) {
		c.Reachable = func() (bool, bool) { mu.Lock(); defer mu.Unlock(); return v4, v6 }
	})
	r.answers(zone("a.db. 60 IN A 192.0.2.1", "a.db. 60 IN AAAA 2001:db8::1"))
	set := func(four, six bool) { mu.Lock(); defer mu.Unlock(); v4, v6 = four, six }
	want := func(a, aaaa string) {
		t.Helper()
		if got := brief(r.ask("a.db", dns.TypeA)); got != "NOERROR"+a {
			t.Errorf("A: %s, want%s", got, a)
		}
		if got := brief(r.ask("a.db", dns.TypeAAAA)); got != "NOERROR"+aaaa {
			t.Errorf("AAAA: %s, want%s", got, aaaa)
		}
	}
	want(" a.db/A="+r.v4("a.db"), "")
	set(false, true)
	want("", " a.db/AAAA="+r.v6("a.db"))
	set(false, false) // no way to any: what DNS says is better than nothing
	want(" a.db/A=192.0.2.1", " a.db/AAAA=2001:db8::1")
}

func TestARegisteredNameExistsWhateverIsAskedAboutIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"))
	for _, qtype := range []uint16{dns.TypeTXT, dns.TypeMX, dns.TypeSRV} {
		if got := brief(r.ask("a.db", qtype)); got != "NOERROR" {
			t.Errorf("%s: %s", dns.TypeToString[qtype], got)
		}
	}
	r.answers(zone(`_mongodb._tcp.a.db. 60 IN SRV 0 0 27017 b.db.`, `a.db. 60 IN TXT "authSource=admin"`))
	if got := r.ask("_mongodb._tcp.a.db", dns.TypeSRV); len(got.Answer) != 1 {
		t.Error(got)
	}
}

func TestUnderRegistryOnlyNoNameCarriesAnythingOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db")+http("n", "none.test", "NONE"), func(c *Config) { c.Policy = RegistryOnly; c.Allow = []string{"corp.test"} })
	r.answers(func(q *dns.Msg) (*dns.Msg, error) { return rcode(q, dns.RcodeSuccess), nil })
	for _, name := range []string{"secret.attacker.test", "none.test.attacker.test", "8.8.8.8.in-addr.arpa", `x\.corp.test`, "a.corp.test.evil"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeHTTPS, dns.TypePTR, dns.TypeNULL, 65280} {
			m := r.ask(name, qtype, func(m *dns.Msg) { m.SetEdns0(1232, false) })
			if m.Rcode != dns.RcodeNameError || !strings.Contains(m.IsEdns0().String(), "ServiceEntry") {
				t.Errorf("%s %d: %s", name, qtype, m)
			}
		}
	}
	if asked := r.questions(); len(asked) > 0 {
		t.Fatalf("the resolvers were asked %v", asked)
	}
	for _, name := range []string{"none.test", "web.default.svc.cluster.local", "x.corp.test"} {
		if got := brief(r.ask(name, dns.TypeA)); got != "NOERROR" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n := strings.Count(r.log.String(), "name=secret.attacker.test"); n != 1 {
		t.Errorf("the refusal was logged %d times", n)
	}
	r.apply(mesh.AllowAny, "")
	if got := brief(r.ask("secret.attacker.test", dns.TypeA)); got != "NOERROR" {
		t.Errorf("under ALLOW_ANY: %s", got)
	}
}

func TestAnswersAreRememberedForRegisteredNamesOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, http("n", "none.test", "NONE")+http("w", "*.wild.test", "NONE"))
	r.answers(zone("none.test. 60 IN CNAME cdn.test.", "cdn.test. 5 IN A 192.0.2.1", "x.wild.test. 5 IN AAAA 2001:db8::1", "other.test. 5 IN A 192.0.2.9"))
	r.ask("none.test", dns.TypeA)
	r.ask("x.wild.test.default.svc.cluster.local", dns.TypeAAAA)
	r.ask("other.test", dns.TypeA)
	for _, tc := range []struct {
		name, addr string
		want       bool
	}{
		{"none.test", "192.0.2.1", true}, {"none.test", "::ffff:192.0.2.1", true}, {"none.test", "192.0.2.9", false}, {"cdn.test", "192.0.2.1", false},
		{"x.wild.test", "2001:db8::1", true}, {"other.test", "192.0.2.9", false}, {"", "192.0.2.1", false},
	} {
		if got := r.server.Gave(tc.name, mustAddr(tc.addr)); got != tc.want {
			t.Errorf("gave %s %s: %v", tc.name, tc.addr, got)
		}
	}
}

func TestWhatIsNoQueryIsAnsweredSoOrNotAtAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"))
	for what, tc := range map[string]struct {
		change func(*dns.Msg)
		want   int
	}{
		"another opcode":    {func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		"no question":       {func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		"two questions":     {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		"CHAOS":             {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		"a transfer":        {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		"EDNS of version 1": {func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		"two OPT records":   {func(m *dns.Msg) { m.SetEdns0(1232, false); m.Extra = append(m.Extra, m.Extra[0]) }, dns.RcodeFormatError},
		"records with it":   {func(m *dns.Msg) { m.Answer = []dns.RR{address("a.db", mustAddr("192.0.2.1"))} }, dns.RcodeFormatError},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := r.over(network, "a.db", dns.TypeA, tc.change); got.Rcode != tc.want {
				t.Errorf("%s over %s: %s", what, network, dns.RcodeToString[got.Rcode])
			}
		}
	}
	c, err := net.Dial("udp", r.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, _ := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("a.db.", dns.TypeA)).Pack()
	query, _ := new(dns.Msg).SetQuestion("a.db.", dns.TypeA).Pack()
	for _, noise := range [][]byte{{}, {1, 2, 3}, answer, make([]byte, 11)} {
		c.Write(noise)
	}
	// What cannot be read but is a query gets its id back.
	c.Write(append([]byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 0xc0, 0x0c))
	c.Write(query)
	c.SetReadDeadline(time.Now().Add(await.Patience))
	b := make([]byte, 512)
	if n, err := c.Read(b); err != nil || n < 12 || b[0] != 0xab || b[1] != 0xcd || b[3]&0xf != dns.RcodeFormatError {
		t.Errorf("% x, %v", b[:n], err)
	}
	if n, err := c.Read(b); err != nil || b[0] != query[0] || b[1] != query[1] || n < len(query) {
		t.Errorf("% x, %v", b[:n], err)
	}
}

func TestAnswersAreCutToWhatTheClientTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("big.test. 60 IN A 192.0.2.%d", i))
	}
	r.answers(zone(lines...))
	for size, cut := range map[uint16]bool{0: true, 100: true, 1232: true, 4096: false, 65535: false} {
		m := r.ask("big.test", dns.TypeA, func(m *dns.Msg) {
			if size > 0 {
				m.SetEdns0(size, false)
			}
		})
		m.Compress = true
		if m.Truncated != cut || !cut && len(m.Answer) != 200 || m.Len() > max(int(size), 512) && cut || (m.IsEdns0() != nil) != (size > 0) {
			t.Errorf("size %d: cut %v, %d answers, %d bytes", size, m.Truncated, len(m.Answer), m.Len())
		}
	}
	if m := r.over("tcp", "big.test", dns.TypeA); m.Truncated || len(m.Answer) != 200 {
		t.Errorf("over TCP: %v, %d answers", m.Truncated, len(m.Answer))
	}
}

func TestOneConnectionCarriesManyQueriesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"))
	release := make(chan struct{})
	r.answers(func(q *dns.Msg) (*dns.Msg, error) {
		<-release
		return zone("slow.test. 60 IN A 192.0.2.1")(q)
	})
	conn, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Dial(r.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	slow, quick := new(dns.Msg).SetQuestion("slow.test.", dns.TypeA), new(dns.Msg).SetQuestion("a.db.", dns.TypeA)
	conn.SetDeadline(time.Now().Add(await.Patience))
	for _, q := range []*dns.Msg{slow, quick} {
		if err := conn.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	first, err := conn.ReadMsg()
	if err != nil || first.Id != quick.Id {
		t.Errorf("the quick answer waits for the slow one: %v, %v", first, err)
	}
	close(release)
	if second, err := conn.ReadMsg(); err != nil || second.Id != slow.Id || len(second.Answer) != 1 {
		t.Errorf("%v, %v", second, err)
	}
}

// The C libraries ask for A and AAAA at once, from one socket.
func TestParallelQuestionsOfOneSocketAreBothAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"))
	r.answers(zone("x.test. 60 IN A 192.0.2.1", "x.test. 60 IN AAAA 2001:db8::1"))
	for _, name := range []string{"a.db.", "x.test.", "gone.test."} {
		c, err := net.Dial("udp", r.udp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn := &dns.Conn{Conn: c}
		conn.SetDeadline(time.Now().Add(await.Patience))
		want := map[uint16]uint16{}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			q := new(dns.Msg).SetQuestion(name, qtype)
			want[q.Id] = qtype
			if err := conn.WriteMsg(q); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			m, err := conn.ReadMsg()
			if err != nil || want[m.Id] != m.Question[0].Qtype {
				t.Fatalf("%s: %v, %v", name, m, err)
			}
			delete(want, m.Id)
		}
	}
}

func TestBeforeThereIsAConfigurationNothingIsAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.server.view.Store(nil)
	if got := brief(r.ask("a.db", dns.TypeA)); got != "SERVFAIL" {
		t.Error(got)
	}
}

func TestAnEventNamesFewTypesAndCodes(t *testing.T) {
	t.Parallel()
	types, codes := map[string]bool{}, map[string]bool{}
	for n := range 1 << 16 {
		types[typeName(uint16(n))] = true
		codes[codeName(n)] = true
	}
	if len(types) != 13 || !types["other"] || len(codes) != 8 || !codes["other"] || !codes["BADVERS"] || types[""] || codes[""] {
		t.Errorf("%v, %v", types, codes)
	}
}

func TestAFaultInOneQueryHurtsNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"), func(c *Config) {
		observe := c.Observe
		c.Observe = func(e Event) {
			if e.Type == "TXT" {
				panic("boom")
			}
			observe(e)
		}
	})
	q := new(dns.Msg).SetQuestion("x.test.", dns.TypeTXT)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := new(dns.Client).ExchangeContext(ctx, q, r.udp); err == nil {
		t.Error("the fault did not happen")
	}
	await.True(t, "it is logged", func() bool { return strings.Contains(r.log.String(), "boom") })
	if got := brief(r.ask("a.db", dns.TypeA)); got != "NOERROR a.db/A="+r.v4("a.db") {
		t.Error(got, r.log)
	}
}

func TestSharesAreBoundedInAllAndForEach(t *testing.T) {
	t.Parallel()
	s := shares{most: 3, each: 2}
	a, b := mustAddr("192.0.2.1"), mustAddr("192.0.2.2")
	for i, want := range []struct {
		who  netip.Addr
		took bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {b, false}} {
		if s.take(want.who) != want.took {
			t.Errorf("take %d for %s: want %v", i, want.who, want.took)
		}
	}
	s.release(a)
	if !s.take(b) || len(s.of) != 2 {
		t.Error("what was released cannot be taken")
	}
	s.release(a)
	s.release(b)
	s.release(b)
	if s.total != 0 || len(s.of) != 0 {
		t.Errorf("%+v", &s)
	}
}

func TestQueriesBeyondTheLimitFailAtOnceAndRegisteredOnesDoNot(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp("a", "a.db"))
	r.server.waiting = shares{most: 2, each: 2}
	began, release := make(chan struct{}, 8), make(chan struct{})
	r.answers(func(q *dns.Msg) (*dns.Msg, error) {
		began <- struct{}{}
		<-release
		return nil, errors.New("late")
	})
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() { r.ask(fmt.Sprintf("slow%d.test", i), dns.TypeA) })
	}
	<-began
	<-began
	if got := brief(r.ask("more.test", dns.TypeA)); got != "SERVFAIL" || !slices.Contains(r.sources(), Shed) {
		t.Error(got, r.sources())
	}
	if got := brief(r.over("tcp", "more.test", dns.TypeA)); got != "SERVFAIL" {
		t.Error(got)
	}
	if got := brief(r.ask("a.db", dns.TypeA)); got != "NOERROR a.db/A="+r.v4("a.db") {
		t.Error(got)
	}
	close(release)
	waiting.Wait()
}

// descriptors are a pod's share.
type descriptors struct{ left atomic.Int64 }

func (d *descriptors) Take(context.Context) bool {
	left := d.left.Add(-1)
	if left < 0 {
		d.left.Add(1)
	}
	return left >= 0
}

func (d *descriptors) GiveBack() { d.left.Add(1) }

// Ask has waited in vain already where there is none.
func (d *descriptors) Ask(ctx context.Context) (func(), bool) { return d.GiveBack, d.Take(ctx) }

func TestQuestionsAndConnectionsAreOfThePodsShare(t *testing.T) {
	t.Parallel()
	share := new(descriptors)
	share.left.Store(3)
	r := newRig(t, tcp("a", "a.db"), func(c *Config) { c.Descriptors = share })
	began, release := make(chan struct{}, 8), make(chan struct{})
	r.answers(func(q *dns.Msg) (*dns.Msg, error) {
		began <- struct{}{}
		<-release
		return zone(q.Question[0].Name + " 60 IN A 192.0.2.7")(q)
	})
	stream, err := dns.Dial("tcp", r.tcp)
	must(t, err)
	defer stream.Close()
	stream.SetDeadline(time.Now().Add(await.Patience))
	must(t, stream.WriteMsg(new(dns.Msg).SetQuestion("a.db.", dns.TypeA)))
	if _, err := stream.ReadMsg(); err != nil { // it has one
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() { r.ask(fmt.Sprintf("slow%d.test", i), dns.TypeA) })
		<-began
	}
	if got := brief(r.ask("more.test", dns.TypeA)); got != "SERVFAIL" || !strings.Contains(r.log.String(), errNoShare.Error()) {
		t.Error(got)
	}
	if got := brief(r.ask("a.db", dns.TypeA)); got != "NOERROR a.db/A="+r.v4("a.db") {
		t.Error(got)
	}
	other, err := dns.Dial("tcp", r.tcp)
	must(t, err)
	defer other.Close()
	other.SetDeadline(time.Now().Add(await.Patience))
	if _, err := other.ReadMsg(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection beyond the share: %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "closed unanswered") {
		t.Errorf("nothing is said of a connection that is closed:\n%s", log)
	}
	close(release)
	waiting.Wait()
	stream.Close()
	if !await.Within(await.Patience, func() bool { return share.left.Load() == 3 }) {
		t.Fatalf("%d of 3 were given back", share.left.Load())
	}
}
