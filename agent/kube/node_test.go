package kube_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/kube"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
	"github.com/sluice-cni/sluice/mesh"
	meshkube "github.com/sluice-cni/sluice/mesh/kube"
	"github.com/sluice-cni/sluice/selection"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// start has a node follow a server until the test ends. each is called before it runs.
func start(t *testing.T, server *apitest.Server, o kube.Options, each func(*kube.Node)) *kube.Node {
	t.Helper()
	n, _ := startAndStop(t, server, kubeapi.FollowOptions{Refused: time.Millisecond}, o, each)
	return n
}

func startAndStop(t *testing.T, server *apitest.Server, follow kubeapi.FollowOptions, o kube.Options, each func(*kube.Node)) (n *kube.Node, stop func()) {
	t.Helper()
	follow.Log, o.Log = quiet(), cmp.Or(o.Log, quiet())
	c := server.Cluster()
	feed := c.Feed(follow)
	n = kube.New(c, feed, "worker", o)
	if each != nil {
		each(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { feed.Run(ctx) })
	running.Go(func() { n.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return n, stop
}

func podJSON(name, uid, metadata, spec, status string) string {
	return `{"metadata":{"namespace":"shop","name":"` + name + `","uid":"` + uid + `"` + metadata + `},"spec":{"nodeName":"worker"` + spec + `},"status":{` + status + `}}`
}

func TestKubernetesWordOfAPodIsItsNewest(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Pods,
		podJSON("web", "1", `,"labels":{"app":"web"},"annotations":{"sluice.dev/inject":"true","other.example/x":"long"}`, `,"containers":[{"name":"app"}]`, ``),
		podJSON("meshed", "2", ``, `,"containers":[{"name":"app"}],"initContainers":[{"name":"linkerd-proxy","restartPolicy":"Always"}]`, ``),
		podJSON("static", "3", `,"annotations":{"kubernetes.io/config.mirror":"abc"}`, ``, ``),
		podJSON("host", "4", ``, `,"hostNetwork":true`, ``),
		podJSON("done", "5", ``, ``, `"phase":"Succeeded"`),
		`{"metadata":{"namespace":"shop","name":"elsewhere","uid":"6"},"spec":{"nodeName":"other"}}`)
	nudges := make(chan struct{}, 100)
	n := start(t, server, kube.Options{Nudge: func() { nudges <- struct{}{} }}, nil)
	names := map[string]string{"1": "web", "2": "meshed", "3": "static", "abc": "static", "4": "host", "5": "done", "6": "elsewhere"}
	known := func(uid string) (selection.Pod, bool) {
		return n.Known(selection.Pod{Namespace: "shop", Name: names[uid], UID: uid, Workload: "w", Labels: map[string]string{"old": "yes"}})
	}
	p, ok := known("1") // waits for the first word
	if !ok || p.Labels["app"] != "web" || p.Labels["old"] != "" || len(p.Annotations) != 1 || p.Workload != "w" || p.Sidecar != "" {
		t.Errorf("%+v %v", p, ok)
	}
	if p, ok := known("2"); !ok || p.Sidecar != "Linkerd" {
		t.Errorf("%+v %v", p, ok)
	}
	for uid, want := range map[string]bool{"3": false, "abc": true, "4": false, "5": false, "6": false, "": false} {
		if _, ok := known(uid); ok != want {
			t.Errorf("%q: %v", uid, ok)
		}
	}
	<-nudges
	for len(nudges) > 0 {
		<-nudges
	}
	// Of a pod that the runtime has named only what anybody decides by is worth a look,
	server.Put(kubeapi.Pods, podJSON("web", "1", `,"labels":{"app":"web"},"annotations":{"sluice.dev/inject":"true"}`, `,"containers":[{"name":"app"}]`, `"phase":"Running"`))
	server.Put(kubeapi.Pods, podJSON("web", "1", `,"labels":{"app":"web","sluice.dev/inject":"false"}`, `,"containers":[{"name":"app"}]`, `"phase":"Running"`))
	await.True(t, "the label is known", func() bool { p, _ := known("1"); return p.Labels["sluice.dev/inject"] == "false" })
	<-nudges
	// of another anything.
	server.Put(kubeapi.Pods, podJSON("new", "7", ``, ``, ``))
	<-nudges
	server.Touch(kubeapi.Pods, kubeapi.Key{Namespace: "shop", Name: "new"})
	<-nudges
	server.Remove(kubeapi.Pods, kubeapi.Key{Namespace: "shop", Name: "web"})
	await.True(t, "the pod is forgotten", func() bool { _, ok := known("1"); return !ok })
}

// read is an Event as a server has it.
type read struct {
	InvolvedObject struct{ APIVersion, Kind, Namespace, Name, UID string }
	Reason         string
	Message        string
	Type           string
	Count          int
}

func events(t *testing.T, server *apitest.Server) map[string]read {
	t.Helper()
	all := map[string]read{}
	for _, key := range server.Keys(kubeapi.Events) {
		var e read
		if err := json.Unmarshal(server.Object(kubeapi.Events, key), &e); err != nil {
			t.Fatal(err)
		}
		all[e.Reason+" "+e.InvolvedObject.Kind+" "+key.Namespace+"/"+e.InvolvedObject.Name] = e
	}
	return all
}

func TestWhatPeopleShouldSeeIsAnEventWrittenOnce(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Pods, podJSON("static", "3", `,"annotations":{"kubernetes.io/config.mirror":"abc"}`, ``, ``))
	one, other := start(t, server, kube.Options{}, nil), start(t, server, kube.Options{}, nil)
	one.Known(selection.Pod{UID: "abc"}) // waits until the pods are known
	other.Known(selection.Pod{UID: "abc"})
	verdict := meshkube.Verdict{Kind: kubeapi.ServiceEntries, Key: kubeapi.Key{Namespace: "shop", Name: "api"}, UID: "9", KeptLast: true,
		Issues: mesh.Issues{{Severity: mesh.Error, File: "serviceentries/shop/api", Kind: "ServiceEntry", Namespace: "shop", Name: "api", Field: "spec.hosts", Message: "missing; name one"}}}
	partly := verdict
	partly.UID, partly.Key.Name = "10", "part"
	partly.Issues = mesh.Issues{{Severity: mesh.Warning, Field: "spec.location", Value: "X", Message: "means nothing here"}}
	noticed := verdict
	noticed.UID, noticed.Key.Name = "12", "noticed"
	noticed.Issues = mesh.Issues{{Severity: mesh.Notice, Field: "spec.location", Value: "Y", Message: "means less here"}}
	for range 3 {
		for _, n := range []*kube.Node{one, other} {
			n.Judged(verdict)
			n.Judged(partly)
			n.Judged(noticed)
			n.News(core.News{Name: wire.PodName{Namespace: "shop", Name: "static", UID: "abc"}, State: core.PodFailed, Reason: "a\nb"})
			n.News(core.News{Name: wire.PodName{Namespace: "shop", Name: "meshed", UID: "2"}, State: core.PodUntouched, LeftAlone: "Istio"})
			n.News(core.News{Name: wire.PodName{Namespace: "shop", Name: "brief", UID: "8"}, State: core.PodFailed, Reason: "goes away"})
			n.News(core.News{Name: wire.PodName{Namespace: "shop", Name: "brief", UID: "8"}, State: core.PodEnrolled})
			n.News(core.News{State: core.PodFailed}) // a namespace that nobody knows
			n.Mistaken(kubeapi.Namespaces, kubeapi.Object{Key: kubeapi.Key{Name: "shop"}, UID: "11"}, io.EOF)
			n.Mistaken(kubeapi.Namespaces, kubeapi.Object{Key: kubeapi.Key{Name: "shop"}, UID: "11"}, nil)
		}
	}
	await.True(t, "six events", func() bool {
		return len(server.Keys(kubeapi.Events)) >= 6 && server.Asked("create", kubeapi.Events) >= 12
	})
	all := events(t, server)
	for name, want := range map[string]struct{ kind, uid, text string }{
		"SluiceRefused ServiceEntry shop/api":    {"Warning", "9", "not in force; what it was before stays in force, if it was: spec.hosts: missing; name one"},
		"SluicePartly ServiceEntry shop/part":    {"Warning", "10", `in force; spec.location "X": means nothing here`},
		"SluicePartly ServiceEntry shop/noticed": {"Normal", "12", `in force; spec.location "Y": means less here`},
		"SluiceNotEnrolled Pod shop/static":      {"Warning", "3", "as it should be: a; b; sluice tries again"},
		"SluiceLeftAlone Pod shop/meshed":        {"Normal", "2", "Istio's sidecar serves this pod"},
		"SluicePolicy Namespace default/shop":    {"Warning", "11", "EOF"},
	} {
		e, there := all[name]
		if !there || e.Type != want.kind || e.InvolvedObject.UID != want.uid || !strings.Contains(e.Message, want.text) || e.Count != 1 {
			t.Errorf("%s: %v %+v", name, there, e)
		}
	}
	if len(all) != 6 || len(server.Keys(kubeapi.Events)) != 6 {
		t.Errorf("%v", server.Keys(kubeapi.Events))
	}
}

// An agent that begins while the API server is away knows what it was told before of
// pods that were labelled since they began.
func TestAPodsLastWordOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Pods, podJSON("web", "1", `,"labels":{"app":"web","sluice.dev/inject":"true"}`, ``, ``), podJSON("plain", "2", `,"labels":{"app":"plain"}`, ``, ``))
	path := filepath.Join(t.TempDir(), "pods.json")
	run := func() (n *kube.Node, stop func()) {
		t.Helper()
		return startAndStop(t, server, kubeapi.FollowOptions{}, kube.Options{}, func(n *kube.Node) { n.Remember(path) })
	}
	web := selection.Pod{Namespace: "shop", Name: "web", UID: "1", Labels: map[string]string{"app": "web"}}
	plain := selection.Pod{Namespace: "shop", Name: "plain", UID: "2", Labels: map[string]string{"app": "plain"}}
	n, stop := run()
	for _, p := range []selection.Pod{web, plain} {
		if _, ok := n.Known(p); !ok {
			t.Fatal("not known: ", p)
		}
	}
	await.True(t, "the one that is another is written down", func() bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(data), `"1":`) && !strings.Contains(string(data), `"2":`)
	})
	inFile := func(want bool) {
		t.Helper()
		await.True(t, "what the file has", func() bool {
			data, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(data), `"1":`) == want
		})
	}
	same := web
	same.Labels = map[string]string{"app": "web", "sluice.dev/inject": "true"}
	n.Known(same) // the runtime knows it now
	inFile(false)
	n.Known(web)
	inFile(true)
	stop()
	server.Refuse(kubeapi.Pods, 403) // which says nothing about pods
	n, stop = startAndStop(t, server, kubeapi.FollowOptions{Refused: time.Millisecond}, kube.Options{}, func(n *kube.Node) { n.Remember(path) })
	if p, ok := n.Known(web); !ok || p.Labels["sluice.dev/inject"] != "true" {
		t.Errorf("refused: %+v %v", p, ok)
	}
	stop()
	server.Refuse(kubeapi.Pods, 0)
	server.Stop()
	n, _ = run()
	if p, ok := n.Known(web); !ok || p.Labels["sluice.dev/inject"] != "true" {
		t.Errorf("%+v %v", p, ok)
	}
	if _, ok := n.Known(plain); ok {
		t.Error("known, of whom the runtime knows the same")
	}
	// The server's word, once it is heard, is the only one.
	server.Start()
	server.Remove(kubeapi.Pods, kubeapi.Key{Namespace: "shop", Name: "web"})
	await.True(t, "the pod is forgotten", func() bool { _, ok := n.Known(web); return !ok })
	await.True(t, "in the file too", func() bool {
		data, err := os.ReadFile(path)
		return err == nil && !strings.Contains(string(data), `"1":`)
	})
}

// An object that says by an annotation that it stands for another pod is not that pod: it
// gives it no labels, and takes none when it goes.
func TestNobodyTakesAPodsIdentity(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Pods, podJSON("victim", "1", `,"labels":{"sluice.dev/inject":"true"}`, ``, ``))
	n := start(t, server, kube.Options{}, nil)
	victim := selection.Pod{Namespace: "shop", Name: "victim", UID: "1"}
	word := func(p selection.Pod) string {
		p, ok := n.Known(p)
		if !ok {
			return "unknown"
		}
		return p.Labels["sluice.dev/inject"]
	}
	if got := word(victim); got != "true" {
		t.Fatal(got)
	}
	evil := kubeapi.Key{Namespace: "evil", Name: "mirror"}
	server.Put(kubeapi.Pods, `{"metadata":{"namespace":"evil","name":"mirror","uid":"666","labels":{"sluice.dev/inject":"false"},"annotations":{"kubernetes.io/config.mirror":"1"}},"spec":{"nodeName":"worker"}}`)
	await.True(t, "the other is known", func() bool { return word(selection.Pod{Namespace: "evil", Name: "mirror", UID: "1"}) == "false" })
	if got := word(victim); got != "true" {
		t.Errorf("while another claims to be it: %q", got)
	}
	server.Remove(kubeapi.Pods, evil)
	await.True(t, "the other is gone", func() bool { return word(selection.Pod{Namespace: "evil", Name: "mirror", UID: "1"}) == "unknown" })
	if got := word(victim); got != "true" {
		t.Errorf("once that is gone: %q", got)
	}
}
