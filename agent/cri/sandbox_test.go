package cri_test

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/agent/cri/unary"
	"github.com/sluice-cni/sluice/agent/cri/unary/unarytest"
	"github.com/sluice-cni/sluice/selection"
)

const full = `{"pid": 7, "config": {"dns_config": {"servers": ["192.0.2.53"], "searches": ["a.b"], "options": ["ndots:5"]}},
 "runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/x"}]}}}`

// runtime is one that has sandboxes a, b, …, each with this verbose text, and counts
// how often it was asked about each.
type runtime struct {
	verbose map[string]string
	asked   map[string]int
	gone    map[string]bool
	broken  map[string]bool
}

func (r *runtime) client(t *testing.T) *cri.Client {
	r.asked = map[string]int{}
	c := cri.New(unarytest.Serve(t, unarytest.Methods{
		"ListPodSandbox": func(request []byte) (list []byte, code string) {
			if want := unary.Message(1, unary.Message(2)); string(request) != string(want) {
				t.Errorf("list: %x, want the filter %x", request, want)
			}
			for id := range r.verbose {
				list = append(list, unary.Message(1, unary.Text(1, id))...)
			}
			return list, "0"
		},
		"PodSandboxStatus": r.status,
		"Version": func([]byte) ([]byte, string) {
			return unary.Join(unary.Text(1, "0.1.0"), unary.Text(2, "cri-o"), unary.Text(3, "1.34.0")), "0"
		},
		"Status": func([]byte) ([]byte, string) { return unary.Message(1), "0" },
	}))
	t.Cleanup(c.Close)
	return c
}

func (r *runtime) status(request []byte) (answer []byte, code string) {
	var id string
	unary.Fields(request, func(f unary.Field) error {
		if f.Number == 1 {
			id = string(f.Bytes)
		}
		return nil
	})
	r.asked[id]++
	if r.gone[id] {
		return nil, "5"
	}
	if r.broken[id] {
		return nil, "2"
	}
	return unary.Join(
		unary.Message(1,
			unary.Text(1, id),
			unary.Message(2, unary.Text(1, "pod-"+id), unary.Text(2, "uid"), unary.Text(3, "shop")),
			unary.Message(5, unary.Text(1, "192.0.2.7"), unary.Message(2, unary.Text(1, "2001:db8::7")), unary.Message(2, unary.Text(1, "?"))),
			unary.Message(6, unary.Message(1, unary.Message(2, unary.Number(1, 0)))),
			unary.Map(7, map[string]string{"app": "web"}),
			unary.Map(8, map[string]string{"sluice.dev/inject": "true"})),
		unary.Map(2, map[string]string{"info": r.verbose[id]}),
	), "0"
}

func TestWhatARuntimeTellsOfASandbox(t *testing.T) {
	t.Parallel()
	pod := selection.Pod{Namespace: "shop", Name: "pod-a", UID: "uid", Workload: "pod-a",
		Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"sluice.dev/inject": "true"}}
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	for _, test := range []struct {
		name, verbose string
		want          cri.Sandbox
	}{
		{"containerd", full, cri.Sandbox{ID: "a", Pod: pod, Netns: "/var/run/netns/x", PID: 7, Addresses: addresses,
			DNS: &selection.DNS{Servers: []string{"192.0.2.53"}, Searches: []string{"a.b"}, Options: []string{"ndots:5"}}}},
		{"no more than CRI", "", cri.Sandbox{ID: "a", Pod: pod, Addresses: addresses}},
		{"not JSON", `{"pid": 7`, cri.Sandbox{ID: "a", Pod: pod, Addresses: addresses}},
		{"of another form", `{"pid": "seven"}`, cri.Sandbox{ID: "a", Pod: pod, Addresses: addresses}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := runtime{verbose: map[string]string{"a": test.verbose}}
			got, err := r.client(t).Sandboxes(t.Context())
			if err != nil || !reflect.DeepEqual(got, []cri.Sandbox{test.want}) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

// A node with hundreds of pods is looked at every few seconds.
func TestOnlyNewSandboxesAreAskedAbout(t *testing.T) {
	t.Parallel()
	r := runtime{verbose: map[string]string{"a": full, "b": full}, gone: map[string]bool{}}
	c := r.client(t)
	for i, change := range []func(){
		func() {},
		func() {},
		func() { r.verbose["c"], r.gone["c"] = full, true }, // went away in between
		func() { delete(r.verbose, "a") },
		func() { r.verbose["a"], r.gone["c"] = full, false },
	} {
		change()
		all, err := c.Sandboxes(t.Context())
		if want := []int{2, 2, 2, 1, 3}[i]; err != nil || len(all) != want {
			t.Errorf("look %d: %d sandboxes, %v; want %d", i, len(all), err, want)
		}
	}
	if want := map[string]int{"a": 2, "b": 1, "c": 3}; !reflect.DeepEqual(r.asked, want) {
		t.Errorf("asked %v, want %v", r.asked, want)
	}
}

func TestARuntimeThatSaysNothingOfItsNetwork(t *testing.T) {
	t.Parallel()
	c := new(runtime).client(t)
	if config, err := c.NetworkConfig(t.Context()); err != nil || config != nil {
		t.Errorf("network configuration %q, %v", config, err)
	}
	if name, version, err := c.Version(t.Context()); err != nil || name != "cri-o" || version != "1.34.0" {
		t.Errorf("version %q %q, %v", name, version, err)
	}
}

func TestAnErrorNamesTheSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.sock")
	if _, err := cri.New(path).Sandboxes(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

// One pod's trouble is one pod's: what a runtime cannot tell of a sandbox is missing of
// that one.
func TestASandboxThatCannotBeToldOfHidesNoOther(t *testing.T) {
	t.Parallel()
	r := runtime{verbose: map[string]string{"a": full, "b": full, "c": full}, broken: map[string]bool{"b": true}}
	c := r.client(t)
	for range 2 {
		all, err := c.Sandboxes(t.Context())
		if len(all) != 2 || err == nil || !strings.Contains(err.Error(), "sandbox b") {
			t.Errorf("%d sandboxes, %v", len(all), err)
		}
	}
	r.broken["b"] = false
	if all, err := c.Sandboxes(t.Context()); len(all) != 3 || err != nil {
		t.Errorf("%d sandboxes, %v", len(all), err)
	}
}
