package namespaces_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/namespaces"
)

const patience = 30 * time.Second

var configMap = kubeapi.Key{Namespace: "sluice-system", Name: "sluice-policy"}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// follower is a Source that follows a server until the test ends, or stop.
type follower struct {
	t        *testing.T
	source   *namespaces.Source
	policies chan *selection.Policy
	stop     func()

	mu   sync.Mutex
	said []string
}

func follow(t *testing.T, server *apitest.Server, journal string) *follower {
	t.Helper()
	feed := server.Cluster().Feed(kubeapi.FollowOptions{Journal: journal, Log: quiet()})
	f := &follower{t: t, source: namespaces.New(feed, configMap, quiet()), policies: make(chan *selection.Policy, 100)}
	f.source.Said = func(k kubeapi.Kind, o kubeapi.Object, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.said = append(f.said, fmt.Sprint(k.Name, " ", o.Key, ": ", err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { feed.Run(ctx) })
	running.Go(func() {
		if err := f.source.Run(ctx, func(p *selection.Policy) { f.policies <- p }); err != nil {
			t.Error(err)
		}
	})
	f.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(f.stop)
	return f
}

// wait is until the policy is that.
func (f *follower) wait(want string) {
	f.t.Helper()
	late := time.After(patience)
	last := "none"
	for {
		select {
		case p := <-f.policies:
			data, err := json.Marshal(p)
			if err != nil {
				f.t.Fatal(err)
			}
			if last = string(data); last == want {
				return
			}
		case <-late:
			f.t.Fatalf("policy %s\nwant   %s", last, want)
		}
	}
}

// silent is for much longer than changes gather: no policy comes.
func (f *follower) silent() {
	f.t.Helper()
	select {
	case p := <-f.policies:
		f.t.Fatalf("%+v", p)
	case <-time.After(500 * time.Millisecond):
	}
}

// says waits until the source names a problem.
func (f *follower) says(want string) {
	f.t.Helper()
	await.Silence(f.t, func() string {
		if problem := f.source.Problem(); !strings.Contains(problem, want) {
			return fmt.Sprintf("it says %q, not %q", problem, want)
		}
		return ""
	})
}

func namespace(name, metadata string) string {
	return `{"metadata":{"name":"` + name + `",` + metadata + `}}`
}

func policyMap(text string) string {
	data, _ := json.Marshal(text)
	return `{"metadata":{"namespace":"sluice-system","name":"sluice-policy"},"data":{"10-chart.yaml":"exemptNamespaces: [kube-system]","20-values.yaml":` + string(data) + `,"notes":"]["}}`
}

func TestNamespacesAndTheConfigMapAreOnePolicy(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Namespaces,
		namespace("plain", `"labels":{"kubernetes.io/metadata.name":"plain"}`),
		namespace("kube-system", `"labels":{"sluice.dev/inject":"true"}`),
		namespace("shop", `"labels":{"sluice.dev/inject":"true","sluice.dev/enforce":"true"},"annotations":{"traffic.sidecar.istio.io/excludeOutboundPorts":"22","sluice.dev/outboundPolicy":"Observe","other.example/x":"y"}`))
	server.Put(kubeapi.ConfigMaps, policyMap("selection: annotated"))
	f := follow(t, server, "")
	const rest = `{"generation":0,"exemptNamespaces":["kube-system"],"selection":"annotated"`
	f.wait(rest + `,"namespaces":{"shop":{"select":true,"defaults":{"excludeOutboundPorts":"22"},"enforce":["inject"],"outboundPolicy":"Observe"}}}`)

	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"false"}`), namespace("bank", `"labels":{"sluice.dev/inject":"true"}`))
	f.wait(rest + `,"namespaces":{"bank":{"select":true},"shop":{"select":false}}}`)
	server.Remove(kubeapi.Namespaces, kubeapi.Key{Name: "shop"})
	f.wait(rest + `,"namespaces":{"bank":{"select":true}}}`)
	// What the ConfigMap says of a namespace stands.
	server.Put(kubeapi.ConfigMaps, policyMap("namespaces: {bank: {select: false, onInvalid: pass}}"))
	f.wait(rest + `,"namespaces":{"bank":{"select":false,"onInvalid":"pass"}}}`)
	server.Put(kubeapi.ConfigMaps, `{"metadata":{"namespace":"sluice-system","name":"sluice-policy"}}`)
	f.wait(`{"generation":0,"selection":"annotated","namespaces":{"bank":{"select":true},"kube-system":{"select":true}}}`)
	if problem := f.source.Problem(); problem != "" {
		t.Error(problem)
	}
}

// A prune, a rename or half an uninstallation is nobody's word about which pods are
// captured: the last good content stays, over restarts of the agent too.
func TestAConfigMapThatIsGoneStaysInForce(t *testing.T) {
	t.Parallel()
	server, journal := apitest.New(t), t.TempDir()
	server.Put(kubeapi.ConfigMaps, policyMap("selection: all"))
	f := follow(t, server, journal)
	f.wait(`{"generation":0,"exemptNamespaces":["kube-system"],"selection":"all"}`)
	server.Remove(kubeapi.ConfigMaps, configMap)
	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"false"}`))
	const after = `{"generation":0,"exemptNamespaces":["kube-system"],"selection":"all","namespaces":{"shop":{"select":false}}}`
	gone := func() {
		t.Helper()
		f.wait(after)
		f.says("ConfigMap sluice-system/sluice-policy: is gone; put it back")
	}
	gone()
	for range 2 { // the agent that follows has it from the journal, and so has the one after
		f.stop()
		f = follow(t, server, journal)
		gone()
	}
	f.stop()
	server.Stop()
	f = follow(t, server, journal)
	f.wait(after)
	server.Put(kubeapi.ConfigMaps, policyMap("selection: annotated"))
	server.Start()
	f.wait(`{"generation":0,"exemptNamespaces":["kube-system"],"selection":"annotated","namespaces":{"shop":{"select":false}}}`)
}

func TestWhatCannotBeReadIsSaidAndTheRestIsInForce(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	journal := t.TempDir()
	server.Put(kubeapi.ConfigMaps, policyMap("selection: annotated"))
	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"yes","sluice.dev/enforse":"true"},"annotations":{"sluice.dev/dnsCapture":"true","sluice.dev/nonTCP":"maybe","sluice.dev/outboundPolicy":"observe","sluice.dev/inject":"true","sluice.dev/what":"x","traffic.sidecar.istio.io/excludeOutboundPort":"22"}`),
		namespace("both", `"labels":{"sluice.dev/inject":"false","sluice.dev/enforce":"true"}`))
	f := follow(t, server, journal)
	const rest = `{"generation":0,"exemptNamespaces":["kube-system"],"selection":"annotated","namespaces":{"both":{"select":false},"shop":{"defaults":{"dnsCapture":"true"}}`
	f.wait(rest + `}}`)
	problem := f.source.Problem()
	for _, want := range []string{
		`Namespace shop: label sluice.dev/inject "yes": not a known value; use true or false`,
		`label sluice.dev/enforse: unknown; remove it, or use`,
		`annotation sluice.dev/nonTCP: nonTCP "maybe": `,
		`annotation sluice.dev/outboundPolicy: outboundPolicy "observe": not a known value; use Observe`,
		`annotation sluice.dev/inject: has no effect on a namespace; make it a label: kubectl label namespace shop sluice.dev/inject=true`,
		`annotation sluice.dev/what: unknown`,
		`annotation traffic.sidecar.istio.io/excludeOutboundPort: unknown`,
		`Namespace both: label sluice.dev/enforce "true": not beside`,
	} {
		if !strings.Contains(problem, want) {
			t.Errorf("does not say %s\nbut %s", want, problem)
		}
	}
	// A bad ConfigMap leaves the last good one in force, over a restart too.
	server.Put(kubeapi.ConfigMaps, policyMap("selection: everybody"))
	server.Put(kubeapi.Namespaces, namespace("new", `"labels":{"sluice.dev/inject":"true"}`))
	f.wait(rest[:len(rest)-len(`"shop":{"defaults":{"dnsCapture":"true"}}`)] + `"new":{"select":true},"shop":{"defaults":{"dnsCapture":"true"}}}}`)
	f.says(`20-values.yaml:1: selection "everybody"`)
	f.mu.Lock()
	said := strings.Join(f.said, "\n")
	f.mu.Unlock()
	if !strings.Contains(said, `ConfigMap sluice-system/sluice-policy: 20-values.yaml:1: selection "everybody"`) || !strings.Contains(said, "Namespace shop: ") {
		t.Error(said)
	}
	f.stop()
	server.Stop()
	f = follow(t, server, journal)
	f.wait(rest[:len(rest)-len(`"shop":{"defaults":{"dnsCapture":"true"}}`)] + `"new":{"select":true},"shop":{"defaults":{"dnsCapture":"true"}}}}`)
}

// Who labels a namespace that is exempt, or annotates one of which the operator says
// otherwise, would wait for an effect.
func TestANamespacesWordThatHasNoEffectIsSaid(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.ConfigMaps, policyMap("defaults: {nonTCP: allow}\nenforce: [nonTCP]\nnamespaces: {shop: {enforce: ['*']}, bank: {select: true}}"))
	server.Put(kubeapi.Namespaces,
		namespace("kube-system", `"labels":{"sluice.dev/inject":"true"}`),
		namespace("bank", `"uid":"7","labels":{"sluice.dev/inject":"false"},"annotations":{"sluice.dev/outboundPolicy":"Observe"}`),
		namespace("free", `"labels":{"sluice.dev/inject":"true","sluice.dev/enforce":"true"},"annotations":{"sluice.dev/nonTCP":"allow","sluice.dev/dnsCapture":"true"}`),
		namespace("shop", `"labels":{"sluice.dev/inject":"false"},"annotations":{"sluice.dev/outboundPolicy":"ALLOW_ANY","sluice.dev/nonTCP":"reject","traffic.sidecar.istio.io/excludeOutboundPorts":"80"}`))
	f := follow(t, server, t.TempDir())
	all := []string{
		"Namespace bank: not in force, since ConfigMap sluice-system/sluice-policy enforces these or says otherwise of the namespace: label sluice.dev/inject",
		"Namespace kube-system: not in force, since ConfigMap sluice-system/sluice-policy has the namespace in exemptNamespaces: label sluice.dev/inject",
		"Namespace shop: not in force, since ConfigMap sluice-system/sluice-policy enforces these or says otherwise of the namespace: label sluice.dev/inject, annotation sluice.dev/outboundPolicy, annotation traffic.sidecar.istio.io/excludeOutboundPorts, annotation sluice.dev/nonTCP",
	}
	said := func(want ...string) {
		t.Helper()
		await.Silence(t, func() string {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !slices.Equal(f.said, want) {
				return strings.Join(f.said, "\n")
			}
			return ""
		})
	}
	said(all...)
	server.Put(kubeapi.Namespaces, namespace("other", `"labels":{"sluice.dev/inject":"true"}`)) // nothing is said twice
	server.Put(kubeapi.ConfigMaps, policyMap("namespaces: {other: {select: false}}"))
	said(append(all, "Namespace other: not in force, since ConfigMap sluice-system/sluice-policy enforces these or says otherwise of the namespace: label sluice.dev/inject")...)
}

// A mistyped word neither cuts a namespace off nor lets it go: its field is as it was, over
// restarts too. What is taken away is gone.
func TestAMistypedWordOfANamespaceChangesNothing(t *testing.T) {
	t.Parallel()
	server, journal := apitest.New(t), t.TempDir()
	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"true","sluice.dev/enforce":"true"},"annotations":{"sluice.dev/outboundPolicy":"Observe","sluice.dev/nonTCP":"allow"}`))
	f := follow(t, server, journal)
	const policy = `{"generation":0,"selection":"annotated","namespaces":{`
	const shop = `"shop":{"select":true,"defaults":{"nonTCP":"allow"},"enforce":["inject"],"outboundPolicy":"Observe"}}}`
	f.wait(policy + shop)
	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"True","sluice.dev/enforce":"yes"},"annotations":{"sluice.dev/outboundPolicy":"observe","sluice.dev/nonTCP":"maybe"}`),
		namespace("new", `"labels":{"sluice.dev/inject":"true"}`))
	f.wait(policy + `"new":{"select":true},` + shop)
	f.says("Namespace shop")
	server.Put(kubeapi.Namespaces, namespace("new", `"labels":{"sluice.dev/inject":"true","team":"a"}`)) // nobody's business
	f.silent()
	f.stop()
	f = follow(t, server, journal)
	f.wait(policy + `"new":{"select":true},` + shop)
	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"yes"}`))
	f.wait(policy + `"new":{"select":true},"shop":{"select":true}}}`)
}

// Neither a server that refuses the ConfigMap, nor a mistake in one that was never good,
// nor silence says that a node's pods are captured.
func TestNothingIsSaidBeforeEverythingIsKnown(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Namespaces, namespace("shop", `"labels":{"sluice.dev/inject":"true"}`))
	server.Put(kubeapi.ConfigMaps, policyMap("selection: everybody"))
	f := follow(t, server, "")
	for _, status := range []int{500, 403} {
		f.stop()
		server.Refuse(kubeapi.ConfigMaps, status)
		f = follow(t, server, "")
		f.silent()
	}
	server.Refuse(kubeapi.ConfigMaps, 0)
	f.silent()
	server.Remove(kubeapi.ConfigMaps, configMap)
	f.wait(`{"generation":0,"selection":"annotated","namespaces":{"shop":{"select":true}}}`)
}

func TestWhatIsSaidOfANamespaceIsBounded(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	var wrong []string
	for i := range 2000 {
		wrong = append(wrong, fmt.Sprintf(`"sluice.dev/x%d":"y"`, i))
	}
	server.Put(kubeapi.Namespaces, namespace("shop", `"annotations":{`+strings.Join(wrong, ",")+`}`), namespace("other", `"labels":{"sluice.dev/inject":"yes"}`))
	f := follow(t, server, "")
	f.wait(`{"generation":0,"selection":"annotated"}`)
	if problem := f.source.Problem(); len(problem) > 2500 || !strings.Contains(problem, "Namespace other: ") || !strings.Contains(problem, "…") {
		t.Errorf("%d bytes: %.200s", len(problem), problem)
	}
}
