package apitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cni/sluice/kubeapi"
)

// request is what a path and its query ask for.
type request struct {
	kind    kubeapi.Kind
	version string
	key     kubeapi.Key // Name "" is all
	labels  labels.Selector
	fields  fields.Selector
}

func parse(r *http.Request) (q request, ok bool) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group := ""
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		parts = parts[1:]
	case len(parts) >= 4 && parts[0] == "apis":
		group, parts = parts[1], parts[2:]
	default:
		return q, false
	}
	q.version, parts = parts[0], parts[1:]
	if len(parts) >= 3 && parts[0] == "namespaces" {
		q.key.Namespace, parts = parts[1], parts[2:]
	}
	if len(parts) == 2 {
		q.key.Name = parts[1]
	}
	i := slices.IndexFunc(Kinds, func(k kubeapi.Kind) bool { return k.Group == group && k.Resource == parts[0] })
	if i < 0 || len(parts) > 2 {
		return q, false
	}
	q.kind = Kinds[i]
	var err, other error
	q.labels, err = labels.Parse(r.URL.Query().Get("labelSelector"))
	q.fields, other = fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	return q, err == nil && other == nil
}

func fail(w http.ResponseWriter, code int, reason, message string, q request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(status(code, reason, message, q))
}

func status(code int, reason, message string, q request) map[string]any {
	s := map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}
	if q.key.Name != "" {
		s["details"] = map[string]any{"name": q.key.Name, "kind": q.kind.Resource}
	}
	return s
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	q, ok := parse(r)
	s.mu.Lock()
	refused, version := s.refused[name(q.kind)], s.served[name(q.kind)]
	if s.confined && r.Method == http.MethodGet && q.kind.Namespaced() && q.key == (kubeapi.Key{}) {
		refused = http.StatusForbidden
	}
	s.asked[verbOf(r, q)+" "+name(q.kind)]++
	s.mu.Unlock()
	switch {
	case !ok || q.version != version:
		fail(w, 404, "NotFound", "the server could not find the requested resource", request{})
		return
	case refused == 403:
		fail(w, 403, "Forbidden", q.kind.String()+` is forbidden: User "test" cannot do that`, q)
		return
	case refused != 0:
		fail(w, refused, "", "refused by the test", q)
		return
	}
	switch {
	case r.Method == http.MethodGet && q.key.Name == "" && r.URL.Query().Get("watch") != "":
		s.watch(w, r, q)
	case r.Method == http.MethodGet:
		s.get(w, q)
	default:
		s.write(w, r, q)
	}
}

func verbOf(r *http.Request, q request) string {
	switch {
	case r.Method == http.MethodPost:
		return "create"
	case r.Method != http.MethodGet:
		return strings.ToLower(r.Method)
	case q.key.Name != "":
		return "get"
	case r.URL.Query().Get("watch") != "":
		return "watch"
	}
	return "list"
}

// selects says whether a request for many is about an object.
func (q request) selects(at place, o map[string]any) bool {
	m := metadata(o)
	given := labels.Set{}
	all, _ := m["labels"].(map[string]any)
	for key, value := range all {
		given[key], _ = value.(string)
	}
	spec, _ := o["spec"].(map[string]any)
	about, _ := o["involvedObject"].(map[string]any)
	return at.resource == name(q.kind) && (q.key.Namespace == "" || q.key.Namespace == at.key.Namespace) &&
		q.labels.Matches(given) && q.fields.Matches(fields.Set{
		"metadata.name": at.key.Name, "metadata.namespace": at.key.Namespace, "spec.nodeName": text(spec, "nodeName"),
		"involvedObject.kind": text(about, "kind"), "involvedObject.name": text(about, "name"), "reason": text(o, "reason"),
	})
}

func (s *Server) get(w http.ResponseWriter, q request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if q.key.Name != "" {
		if o, there := s.objects[place{name(q.kind), q.key}]; there {
			json.NewEncoder(w).Encode(o)
		} else {
			fail(w, 404, "NotFound", q.kind.String()+" "+q.key.Name+" not found", q)
		}
		return
	}
	list := []any{}
	for at, o := range s.objects {
		if q.selects(at, o) {
			list = append(list, o)
		}
	}
	json.NewEncoder(w).Encode(map[string]any{
		"kind": q.kind.Name + "List", "apiVersion": q.kind.APIVersion(),
		"metadata": map[string]any{"resourceVersion": fmt.Sprint(s.version)}, "items": list,
	})
}

// watch streams events: all that is there first where that is asked for.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, q request) {
	query := r.URL.Query()
	if s.old && query.Get("sendInitialEvents") != "" {
		fail(w, 422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled", q)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	send := func(kind string, o any) { out.Encode(map[string]any{"type": kind, "object": o}) }
	s.mu.Lock()
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	if query.Get("sendInitialEvents") == "true" {
		for at, o := range s.objects {
			if q.selects(at, o) {
				send("ADDED", o)
			}
		}
		from = s.version
		send("BOOKMARK", map[string]any{"kind": q.kind.Name, "apiVersion": q.kind.APIVersion(), "metadata": map[string]any{
			"resourceVersion": fmt.Sprint(from), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
		}})
	}
	if from < s.oldest {
		send("ERROR", status(410, "Expired", "too old resource version", request{}))
		s.mu.Unlock()
		return
	}
	for {
		for _, e := range s.history {
			if e.version > from && q.selects(e.place, e.object) {
				send(e.kind, e.object)
			}
		}
		from = s.version
		changed := s.changed
		s.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
		s.mu.Lock()
	}
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, q request) {
	body, err := io.ReadAll(r.Body)
	var o map[string]any
	if err == nil && r.Method != http.MethodDelete {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		fail(w, 400, "BadRequest", err.Error(), q)
		return
	}
	dry := r.URL.Query().Get("dryRun") != ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.key.Name == "" {
		q.key.Name = text(metadata(o), "name")
	}
	at := place{name(q.kind), q.key}
	before, there := s.objects[at]
	apply := strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch")
	switch {
	case r.Method == http.MethodPost && there:
		fail(w, 409, "AlreadyExists", q.key.Name+" already exists", q)
		return
	case r.Method != http.MethodPost && !there && !apply:
		fail(w, 404, "NotFound", q.key.Name+" not found", q)
		return
	case r.Method == http.MethodDelete:
		if !dry {
			s.remove(at)
		}
		o = before
	case r.Method == http.MethodPatch && there && text(metadata(o), "resourceVersion") != "" && text(metadata(o), "resourceVersion") != text(metadata(before), "resourceVersion"):
		fail(w, 409, "Conflict", q.key.Name+" was changed meanwhile", q)
		return
	case r.Method == http.MethodPatch:
		merged, _ := merge(copied(before), o).(map[string]any)
		metadata(merged)["name"] = q.key.Name
		if q.key.Namespace != "" {
			metadata(merged)["namespace"] = q.key.Namespace
		}
		if there && equal(merged, before) {
			o = before
			break
		}
		o = merged
		fallthrough
	default:
		if q.key.Namespace == "" {
			delete(metadata(o), "namespace")
		}
		if !dry {
			delete(metadata(o), "creationTimestamp")
			o = s.put(q.kind, o)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(o)
}

// merge is RFC 7396.
func merge(into, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	m, _ := into.(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	for key, value := range p {
		if value == nil {
			delete(m, key)
		} else {
			m[key] = merge(m[key], value)
		}
	}
	return m
}

func copied(o map[string]any) (c map[string]any) {
	data, _ := json.Marshal(o)
	json.Unmarshal(data, &c)
	return c
}

func equal(a, b map[string]any) bool {
	left, _ := json.Marshal(a)
	right, _ := json.Marshal(b)
	return string(left) == string(right)
}
