// Package apitest is an API server for tests: it keeps objects in memory and speaks
// get, list, watch (streamed lists and bookmarks too), create, patch and delete over
// HTTP. It can be stopped and started, forget its history, and refuse. It checks
// nothing and has no admission: what a real one says of objects, a real one must say.
package apitest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Server is one.
type Server struct {
	t    testing.TB
	addr string
	http *httptest.Server

	mu       sync.Mutex
	changed  chan struct{} // closed at each change
	version  int
	oldest   int // what happened up to here is forgotten
	objects  map[place]map[string]any
	history  []event
	refused  map[string]int // by group/resource: a status
	confined bool           // nothing is listed across namespaces
	served   map[string]string
	asked    map[string]int
	old      bool
}

type place struct {
	resource string // group/resource
	key      kubeapi.Key
}

type event struct {
	version int
	kind    string // ADDED, MODIFIED, DELETED
	place   place
	object  map[string]any
}

// Kinds are those that a new Server serves.
var Kinds = []kubeapi.Kind{
	kubeapi.ServiceEntries, kubeapi.VirtualServices, kubeapi.DestinationRules, kubeapi.Sidecars, kubeapi.Services,
	kubeapi.EndpointSlices, kubeapi.Namespaces, kubeapi.Pods, kubeapi.Nodes, kubeapi.ServiceCIDRs, kubeapi.ConfigMaps,
	kubeapi.Secrets, kubeapi.Events, kubeapi.DaemonSets,
}

func name(k kubeapi.Kind) string { return k.Group + "/" + k.Resource }

// New starts one, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, changed: make(chan struct{}), version: 100, objects: map[place]map[string]any{},
		refused: map[string]int{}, served: map[string]string{}, asked: map[string]int{},
	}
	for _, k := range Kinds {
		s.served[name(k)] = k.Version
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Stop ends it: connections break, new ones are refused. What it has it keeps.
func (s *Server) Stop() {
	if s.http != nil {
		s.http.CloseClientConnections()
		s.http.Config.Close()
		s.http.Close()
		s.http = nil
	}
}

// Start starts it again where it was.
func (s *Server) Start() {
	s.t.Helper()
	at := s.addr
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Listener.Close()
	s.http.Listener = l
	s.http.Start()
}

// Kubeconfig is a file that leads to it.
func (s *Server) Kubeconfig() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{name: test, cluster: {server: \"http://%s\"}}]\n"+
		"users: [{name: test, user: {}}]\ncontexts: [{name: test, context: {cluster: test, user: test}}]\n", s.addr)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Cluster is a client of it.
func (s *Server) Cluster() *kubeapi.Cluster {
	s.t.Helper()
	c, err := kubeapi.Connect(s.Kubeconfig(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Put creates or replaces objects, each as JSON with metadata.name and, where it has
// one, metadata.namespace. uid, creationTimestamp, managedFields, apiVersion and kind are set
// where they are missing; generation counts.
func (s *Server) Put(k kubeapi.Kind, objects ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range objects {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
		s.put(k, o)
	}
}

func metadata(o map[string]any) map[string]any {
	m, _ := o["metadata"].(map[string]any)
	if m == nil {
		m = map[string]any{}
		o["metadata"] = m
	}
	return m
}

func text(m map[string]any, key string) string { s, _ := m[key].(string); return s }

// put is Put of one. The caller holds s.mu.
func (s *Server) put(k kubeapi.Kind, o map[string]any) map[string]any {
	m := metadata(o)
	at := place{name(k), kubeapi.Key{Namespace: text(m, "namespace"), Name: text(m, "name")}}
	before, there := s.objects[at]
	s.version++
	generation := 1.0
	if there {
		generation = metadata(before)["generation"].(float64) + 1
	}
	set := func(o map[string]any, key string, value any) {
		if _, there := o[key]; !there {
			o[key] = value
		}
	}
	set(o, "apiVersion", k.APIVersion())
	set(o, "kind", k.Name)
	set(m, "uid", fmt.Sprintf("uid-%s-%s", k.Resource, strings.ReplaceAll(at.key.String(), "/", "-")))
	if there {
		set(m, "creationTimestamp", metadata(before)["creationTimestamp"])
	}
	set(m, "creationTimestamp", time.Now().UTC().Format(time.RFC3339))
	m["generation"] = generation
	m["resourceVersion"] = fmt.Sprint(s.version)
	set(m, "managedFields", []any{map[string]any{"manager": "test"}})
	s.objects[at] = o
	kind := "ADDED"
	if there {
		kind = "MODIFIED"
	}
	s.happened(event{s.version, kind, at, o})
	return o
}

// Touch changes an object's status and nothing else, as a heartbeat does.
func (s *Server) Touch(k kubeapi.Kind, key kubeapi.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{name(k), key}
	o := copied(s.objects[at])
	s.version++
	o["status"] = map[string]any{"beat": s.version}
	metadata(o)["resourceVersion"] = fmt.Sprint(s.version)
	s.objects[at] = o
	s.happened(event{s.version, "MODIFIED", at, o})
}

// Remove deletes objects.
func (s *Server) Remove(k kubeapi.Kind, keys ...kubeapi.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.remove(place{name(k), key})
	}
}

func (s *Server) remove(at place) bool {
	o, there := s.objects[at]
	if there {
		delete(s.objects, at)
		s.version++
		s.happened(event{s.version, "DELETED", at, o})
	}
	return there
}

func (s *Server) happened(e event) {
	s.history = append(s.history, e)
	s.stir()
}

// stir wakes all watches. The caller holds s.mu.
func (s *Server) stir() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Old makes it a server without streamed lists, as Kubernetes before 1.32 is. It must be
// called before it is asked anything.
func (s *Server) Old() { s.old = true }

// Forget drops the history: who watches from before has to list again (410 Gone), as
// after etcd's compaction. Watches that are open break.
func (s *Server) Forget() {
	s.mu.Lock()
	s.version++
	s.oldest, s.history = s.version, nil
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// Refuse answers requests for a kind with a status, 403 say; 0 ends that.
func (s *Server) Refuse(k kubeapi.Kind, status int) {
	s.mu.Lock()
	s.refused[name(k)] = status
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// Confine refuses to list or follow what is in namespaces in all of them at once, as for
// somebody who has Roles and no ClusterRole.
func (s *Server) Confine() {
	s.mu.Lock()
	s.confined = true
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// Serve says in which version a kind is served; "" is not at all, as without its
// CustomResourceDefinition.
func (s *Server) Serve(k kubeapi.Kind, version string) {
	s.mu.Lock()
	s.served[name(k)] = version
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// Object is what there is; nil: nothing.
func (s *Server) Object(k kubeapi.Kind, key kubeapi.Key) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, there := s.objects[place{name(k), key}]
	if !there {
		return nil
	}
	data, _ := json.Marshal(o)
	return data
}

// Keys lists what there is of a kind.
func (s *Server) Keys(k kubeapi.Kind) (keys []kubeapi.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.objects {
		if at.resource == name(k) {
			keys = append(keys, at.key)
		}
	}
	slices.SortFunc(keys, func(a, b kubeapi.Key) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// Asked counts the requests of an RBAC verb for a kind.
func (s *Server) Asked(verb string, k kubeapi.Kind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[verb+" "+name(k)]
}
