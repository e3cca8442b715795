package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/kube"
)

// cluster is a Store that follows an API server.
type cluster struct {
	*kube.Store
	server *apitest.Server
	stop   func()

	mu       sync.Mutex
	verdicts []kube.Verdict
}

func open(t *testing.T, s *apitest.Server, journal string, change ...func(*kube.Options)) *cluster {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	f := s.Cluster().Feed(kubeapi.FollowOptions{Journal: journal, Refused: time.Millisecond, Log: log})
	c := &cluster{server: s}
	o := kube.Options{Files: onlyAuthorities, Log: log, Said: func(v kube.Verdict) {
		c.mu.Lock()
		c.verdicts = append(c.verdicts, v)
		c.mu.Unlock()
	}}
	for _, set := range change {
		set(&o)
	}
	c.Store = kube.New(f, o)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { f.Run(ctx) })
	all.Go(func() { c.Run(ctx) })
	c.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(c.stop)
	return c
}

// names are the objects in force.
func (c *cluster) names() string {
	s := c.Snapshot()
	if s == nil {
		return "nothing yet"
	}
	var out []string
	for _, r := range s.Resources() {
		out = append(out, r.Namespace+"/"+r.Name)
	}
	return strings.Join(out, " ")
}

func (c *cluster) inForce(t *testing.T, want string) {
	t.Helper()
	await.True(t, want, func() bool { return c.names() == want })
}

func entry(name, host, protocol string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q},"spec":{"hosts":[%q],"ports":[{"number":80,"name":"http","protocol":%q}],"resolution":"DNS"}}`, name, host, protocol)
}

// leads says whether a host is registered for shop's pods.
func (c *cluster) leads(host string) bool {
	s := c.Snapshot()
	return s != nil && s.View(mesh.Workload{Namespace: "shop"}).Name(host) != nil
}

func (c *cluster) verdict(name string) (v kube.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.verdicts {
		if one.Key.Name == name {
			v = one
		}
	}
	return v
}

func TestAClustersResourcesAreInForce(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("a", "a.example.com", "HTTP"))
	c := open(t, s, "")
	c.inForce(t, "shop/a")
	s.Put(kubeapi.ServiceEntries, entry("b", "b.example.com", "HTTP"))
	c.inForce(t, "shop/a shop/b")
	s.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "shop", Name: "a"})
	c.inForce(t, "shop/b")
}

// The older object has a host that two claim, whatever they are called.
func TestOlderObjectsComeFirst(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	aged := func(name, created string) string {
		return strings.Replace(entry(name, "x.example.com", "HTTP"), `"metadata":{`, `"metadata":{"creationTimestamp":"`+created+`",`, 1)
	}
	s.Put(kubeapi.ServiceEntries, aged("a", "2026-02-01T00:00:00Z"), aged("b", "2026-01-01T00:00:00Z"))
	open(t, s, "").inForce(t, "shop/b shop/a")
}

func TestARefusedObjectKeepsWhatItWas(t *testing.T) {
	t.Parallel()
	s, journal := apitest.New(t), t.TempDir()
	s.Put(kubeapi.ServiceEntries, entry("a", "a.example.com", "HTTP"))
	c := open(t, s, journal)
	c.inForce(t, "shop/a")
	s.Put(kubeapi.ServiceEntries, entry("a", "b.example.com", "HTPT"), entry("new", "c.example.com", "HTPT"))
	await.True(t, "two errors", func() bool { return c.Errors() == 2 })
	await.True(t, "two verdicts", func() bool { return c.verdict("a").Issues.HasErrors() && c.verdict("new").Issues.HasErrors() })
	if v := c.verdict("a"); !v.KeptLast || v.Generation != 2 || v.UID == "" {
		t.Errorf("verdict %+v", v)
	}
	if v := c.verdict("new"); v.KeptLast {
		t.Errorf("verdict %+v", v)
	}
	if !c.leads("a.example.com") || c.leads("b.example.com") {
		t.Error("what it was is not in force")
	}
	for _, i := range c.Issues() {
		if i.File != "serviceentries/shop/a" && i.File != "serviceentries/shop/new" || strings.Contains(i.String(), ":1:") {
			t.Errorf("issue %s", i)
		}
	}
	c.stop()

	s.Stop() // a restart, without the server and with it
	c = open(t, s, journal)
	await.True(t, "a.example.com", func() bool { return c.leads("a.example.com") })
	s.Start()
	await.True(t, "two errors", func() bool { return c.Errors() == 2 })
	if !c.leads("a.example.com") {
		t.Error("what it was is not in force after a restart")
	}
	s.Put(kubeapi.ServiceEntries, entry("a", "b.example.com", "HTTP"))
	await.True(t, "b.example.com", func() bool { return c.leads("b.example.com") && !c.leads("a.example.com") && c.Errors() == 1 })
}

// Half of what there is would cut off what the other half lets through.
// What is deleted and made anew in one moment is another object: a mistake in it does not
// leave the deleted one in force.
func TestARefusedObjectIsNotTheOneOfItsNameBefore(t *testing.T) {
	t.Parallel()
	s, journal := apitest.New(t), t.TempDir()
	s.Put(kubeapi.ServiceEntries, entry("a", "a.example.com", "HTTP"), entry("b", "b.example.com", "HTTP"))
	c := open(t, s, journal)
	c.inForce(t, "shop/a shop/b")
	s.Put(kubeapi.ServiceEntries, strings.Replace(entry("a", "a.example.com", "HTPT"), `"metadata":{`, `"metadata":{"uid":"another",`, 1))
	c.inForce(t, "shop/b")
	if v := c.verdict("a"); v.KeptLast {
		t.Errorf("%+v", v)
	}
	s.Put(kubeapi.ServiceEntries, strings.Replace(entry("a", "c.example.com", "HTPT"), `"metadata":{`, `"metadata":{"uid":"another",`, 1))
	c.stop()
	s.Stop()
	open(t, s, journal).inForce(t, "shop/b")
}

func TestNothingIsInForceUntilAllIsKnown(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("a", "a.example.com", "HTTP"))
	s.Refuse(kubeapi.Services, 500)
	c := open(t, s, "")
	called := make(chan struct{}, 100)
	c.SubscribeWithErrors(func(*mesh.Snapshot, int) { called <- struct{}{} })
	await.True(t, "the others", func() bool { w := c.Waiting(); return len(w) == 1 && w[0] == kubeapi.Services })
	if len(called) > 0 || c.Snapshot() != nil {
		t.Error("a snapshot though the Services are unknown")
	}
	s.Refuse(kubeapi.Services, 0)
	c.inForce(t, "shop/a")
	<-called
}

func TestAClusterWithoutIstiosDefinitions(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for _, k := range []kubeapi.Kind{kubeapi.ServiceEntries, kubeapi.VirtualServices, kubeapi.DestinationRules, kubeapi.Sidecars} {
		s.Serve(k, "")
	}
	c := open(t, s, "")
	c.inForce(t, "")
	await.True(t, "notices", func() bool { return len(c.Issues().Of(mesh.Notice)) == 4 })
	if n := c.Errors(); n != 0 {
		t.Errorf("%d errors", n)
	}
	s.Put(kubeapi.ServiceEntries, entry("a", "a.example.com", "HTTP"))
	s.Serve(kubeapi.ServiceEntries, "v1")
	c.inForce(t, "shop/a")
}

func TestWhatIsForbiddenIsAnError(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Refuse(kubeapi.ServiceEntries, 403)
	c := open(t, s, "")
	var told atomic.Int64 // errors, as a proxy's metrics have them
	c.SubscribeWithErrors(func(_ *mesh.Snapshot, errors int) { told.Store(int64(errors)) })
	await.True(t, "an error", func() bool { return c.Errors() == 1 && c.Snapshot() != nil && told.Load() == 1 })
	if text := c.Issues().String(); !strings.Contains(text, `resources ["serviceentries"]`) {
		t.Error(text)
	}
	s.Refuse(kubeapi.ServiceEntries, 0)
	await.True(t, "no error", func() bool { return c.Errors() == 0 && told.Load() == 0 })
}

// addresses are those that a Service is registered with.
func addresses(c *cluster, host string) (out []netip.Addr) {
	s := c.Snapshot()
	if s == nil {
		return nil
	}
	for _, r := range s.Resources() {
		if r.Kind == mesh.KubernetesService && strings.HasPrefix(host, r.Name+"."+r.Namespace+".") {
			spec := r.Spec.(interface{ GetAddresses() []string })
			for _, a := range spec.GetAddresses() {
				out = append(out, netip.MustParseAddr(a))
			}
		}
	}
	return out
}

func TestServicesAreRegistered(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Services,
		`{"metadata":{"namespace":"shop","name":"web"},"spec":{"type":"ClusterIP","clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":"http"}]}}`,
		`{"metadata":{"namespace":"shop","name":"db"},"spec":{"clusterIP":"None","selector":{"app":"db"},"ports":[{"name":"mysql","port":3306,"protocol":"TCP","targetPort":3307}]}}`,
		`{"metadata":{"namespace":"shop","name":"legacy"},"spec":{"clusterIP":"None","ports":[{"name":"http","port":80}]}}`,
		`{"metadata":{"namespace":"shop","name":"dns"},"spec":{"clusterIP":"10.96.0.10","ports":[{"port":53,"protocol":"UDP"}]}}`,
		`{"metadata":{"namespace":"shop","name":"calls"},"spec":{"clusterIP":"10.96.0.11","ports":[{"port":38412,"protocol":"SCTP"}]}}`,
		`{"metadata":{"namespace":"shop","name":"away"},"spec":{"type":"ExternalName","externalName":"api.example.com","ports":[{"port":443,"protocol":"TCP"}]}}`,
		`{"metadata":{"namespace":"shop","name":"wrong"},"spec":{"type":"ExternalName","externalName":"192.0.2.1","ports":[{"port":443,"protocol":"TCP"}]}}`)
	ready := func(addresses string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"db-1","labels":{"kubernetes.io/service-name":"db","service.kubernetes.io/headless":""}},`+
			`"endpoints":[%s],"ports":[{"name":"mysql","protocol":"TCP","port":3307}]}`, addresses)
	}
	s.Put(kubeapi.EndpointSlices, ready(`{"addresses":["10.244.0.5"],"conditions":{"ready":true}},{"addresses":["10.244.0.6"],"conditions":{"ready":false}}`))
	c := open(t, s, "")
	c.inForce(t, "shop/away shop/db shop/legacy shop/web")
	for host, want := range map[string]string{
		"web.shop.svc.cluster.local": "[10.96.0.7 fd00::7]", "db.shop.svc.cluster.local": "[10.244.0.5]",
	} {
		if got := fmt.Sprint(addresses(c, host)); got != want || !c.leads(host) {
			t.Errorf("%s has %s, want %s; registered: %v", host, got, want, c.leads(host))
		}
	}
	if i := c.Issues().Of(mesh.Warning); len(i) != 1 || c.Errors() != 0 || i[0].Name != "wrong" {
		t.Errorf("issues %v", c.Issues())
	}
	s.Put(kubeapi.EndpointSlices, ready(`{"addresses":["10.244.0.5"]},{"addresses":["10.244.0.6"],"conditions":{"ready":true}}`))
	await.True(t, "both endpoints", func() bool {
		return fmt.Sprint(addresses(c, "db.shop.svc.cluster.local")) == "[10.244.0.5 10.244.0.6]"
	})
	s.Remove(kubeapi.EndpointSlices, kubeapi.Key{Namespace: "shop", Name: "db-1"})
	await.True(t, "no endpoint", func() bool { return len(addresses(c, "db.shop.svc.cluster.local")) == 0 })
	s.Remove(kubeapi.Services, kubeapi.Key{Namespace: "shop", Name: "web"})
	c.inForce(t, "shop/away shop/db shop/legacy")
	// One that is made anew with an address has no slices any more, whatever comes of them.
	s.Put(kubeapi.Services, `{"metadata":{"namespace":"shop","name":"db"},"spec":{"clusterIP":"10.96.0.9","ports":[{"name":"mysql","port":3306}]}}`)
	await.True(t, "its address", func() bool { return fmt.Sprint(addresses(c, "db.shop.svc.cluster.local")) == "[10.96.0.9]" })
	s.Put(kubeapi.EndpointSlices, ready(`{"addresses":["10.244.0.5"]}`),
		`{"metadata":{"namespace":"shop","name":"legacy-1","labels":{"kubernetes.io/service-name":"legacy","service.kubernetes.io/headless":""}},"endpoints":[{"addresses":["10.244.0.8"]}]}`)
	await.True(t, "another's endpoint", func() bool { return fmt.Sprint(addresses(c, "legacy.shop.svc.cluster.local")) == "[10.244.0.8]" })
	if got := fmt.Sprint(addresses(c, "db.shop.svc.cluster.local")); got != "[10.96.0.9]" {
		t.Errorf("a slice gives it %s", got)
	}
}

// What resources mean together is said of each, too.
func TestWhatObjectsMeanTogetherIsSaid(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.DestinationRules, `{"metadata":{"namespace":"shop","name":"idle"},"spec":{"host":"nobody.example.com"}}`)
	c := open(t, s, "")
	await.True(t, "a verdict", func() bool { return len(c.verdict("idle").Issues) > 0 })
	s.Put(kubeapi.ServiceEntries, entry("a", "a.example.com", "HTTP"))
	await.True(t, "the entry", func() bool { return c.leads("a.example.com") })
	c.Issues() // looks at all once more
	c.mu.Lock()
	if n := len(c.verdicts); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	c.mu.Unlock()
	if c.Errors() != 0 {
		t.Errorf("%d errors", c.Errors())
	}
}

// A DestinationRule is in force though it names files that are not read: without its TLS the
// connection would go on in the clear.
func TestFilesThatAreNotReadAreWarnedOf(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.DestinationRules, `{"metadata":{"namespace":"shop","name":"a"},"spec":{"host":"a.example.com","trafficPolicy":{"tls":`+
		`{"mode":"MUTUAL","caCertificates":"/etc/ssl/certs/a.pem","clientCertificate":"/c","privateKey":"/k"}}}}`)
	c := open(t, s, "")
	c.inForce(t, "shop/a")
	var warned []string
	for _, i := range c.Issues() {
		if i.Message != errNotRead.Error() {
			continue
		}
		if i.Severity != mesh.Warning {
			t.Error(i)
		}
		warned = append(warned, i.Field+" "+i.Value)
	}
	if got, want := strings.Join(warned, ", "), "spec.trafficPolicy.tls.clientCertificate /c, spec.trafficPolicy.tls.privateKey /k"; got != want {
		t.Errorf("warned of %s, want %s", got, want)
	}
}

var errNotRead = errors.New("is not read")

func onlyAuthorities(_, path string) error {
	if strings.HasPrefix(path, "/etc/ssl/certs/") {
		return nil
	}
	return errNotRead
}

// Each node has the log of all namespaces' objects, and its access log beside it.
func TestOneObjectDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	var out strings.Builder
	f := s.Cluster().Feed(kubeapi.FollowOptions{Log: slog.New(slog.DiscardHandler)})
	store := kube.New(f, kube.Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	const hosts = 3000
	write := func(round int) {
		var names []string
		for i := range hosts {
			names = append(names, fmt.Sprintf("h%d_%d", i, round))
		}
		s.Put(kubeapi.ServiceEntries, strings.Replace(entry("a", "HOSTS", "HTTP"), "HOSTS", strings.Join(names, `","`), 1))
		await.True(t, "errors", func() bool {
			return store.Errors() == 100 && strings.Contains(store.Issues().String(), fmt.Sprintf("h0_%d", round))
		})
	}
	for round := range 3 {
		write(round)
	}
	cancel()
	running.Wait()
	if issues := store.Issues(); len(issues) > 101 || !strings.Contains(issues.String(), "more; see to these first") {
		t.Errorf("%d issues", len(issues))
	}
	if lines := strings.Count(out.String(), "\n"); lines > 3*11 || !strings.Contains(out.String(), "left_out=") {
		t.Errorf("%d lines: %.2000s", lines, &out)
	}
}
