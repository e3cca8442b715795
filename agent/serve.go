package agent

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// Paths of the admin socket. Each pod's proxy is asked beneath PodsPath: NAMESPACE/NAME,
// or netns/DEVICE-INODE, and then a path of proxy/admin's.
const (
	StatusPath = "/v1/status"
	// ServingPath answers with a Serving, for probes: a Status takes long with many pods.
	ServingPath = "/v1/serving"
	PodsPath    = "/v1/pods/"
	LeavePath   = "/v1/leave" // POST
	// ObservedPath lists what pods under the policy Observe have asked for and REGISTRY_ONLY
	// would refuse: an observed.Answer, of this agent's time.
	ObservedPath = "/v1/observed"
)

// AnonymousPods is where pods without a name are found under PodsPath.
const AnonymousPods = "netns"

// Handler answers at the admin socket, and has others (metrics) answer the rest.
func (a *Agent) Handler(others http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", others)
	mux.HandleFunc("GET "+StatusPath, func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Status(r.Context())
		if err != nil {
			http.Error(w, "the agent's core does not answer", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("GET "+ServingPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a.Serving())
	})
	if a.cfg.Common != nil {
		mux.Handle("GET "+ObservedPath, a.cfg.Common.Proxy.Observed)
	}
	mux.HandleFunc(PodsPath, a.askPod)
	mux.HandleFunc("POST "+LeavePath, a.leave)
	return mux
}

// askPod passes a question on to the proxy of one pod.
func (a *Agent) askPod(w http.ResponseWriter, r *http.Request) {
	namespace, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, PodsPath), "/")
	name, path, found := strings.Cut(rest, "/")
	if !found {
		http.Error(w, "name a pod and a question: "+PodsPath+"NAMESPACE/NAME/v1/clusters", http.StatusNotFound)
		return
	}
	server, err := a.proxyOf(r, namespace, name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	r.URL.Path = "/" + path
	admin.Server{Proxy: server, Version: a.cfg.Build, Command: "agent", Log: a.log}.Handler().ServeHTTP(w, r)
}

func (a *Agent) proxyOf(r *http.Request, namespace, name string) (*proxy.Server, error) {
	var s core.Status
	if a.loop.ask(r.Context(), func(state *core.State) { s = state.Status() }) != nil {
		return nil, errors.New("the agent's core does not answer")
	}
	known := false
	for _, p := range s.Pods {
		asked := p.Name.Namespace == namespace && p.Name.Name == name
		if namespace == AnonymousPods { // a namespace of that name may have pods that are called like others' numbers
			asked = p.Pod.String() == name
		}
		if !asked {
			continue
		}
		known = true
		if server := a.host.Server(p.Pod); server != nil {
			return server, nil
		}
	}
	if known {
		return nil, errors.New("the pod is not served; " + remedy.Here().Sluice("status") + " says why")
	}
	return nil, errors.New("the agent knows no such pod")
}

// Leaving is a line of the answer to LeavePath.
type Leaving struct {
	Pods        int `json:"pods"`        // that are still captured, of those it knows
	Connections int `json:"connections"` // of pods, that go on
	// Unsettled says why there may be more; "" when there are none.
	Unsettled string `json:"unsettled,omitempty"`
	// Done: no pod is captured. An answer that ends without it says nothing of that.
	Done bool `json:"done,omitempty"`
}

// leaveEvery is how often it is said how far leaving is.
const leaveEvery = time.Second

// leave un-enrols every pod, and answers with a line of JSON now and then until none is
// left, or another agent has the node. Whoever asks may go: leaving goes on, until this
// process ends.
func (a *Agent) leave(w http.ResponseWriter, r *http.Request) {
	a.log.Info("leaving every pod, as it was asked for")
	a.leaving.Store(true)
	a.loop.tell(core.Leave{})
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/jsonl")
	t := time.NewTicker(leaveEvery)
	defer t.Stop()
	for {
		s, err := a.Status(r.Context())
		if err != nil {
			return
		}
		l := Leaving{Unsettled: s.unsettled}
		for _, p := range s.Pods {
			l.Connections += p.Connections
			if p.State != string(core.PodUntouched) && p.State != string(core.PodGone) {
				l.Pods++
			}
		}
		l.Done = l.Pods == 0 && l.Unsettled == "" && s.Leaving
		// A drain takes longer than answers may otherwise.
		control.SetWriteDeadline(time.Now().Add(10 * leaveEvery))
		if json.NewEncoder(w).Encode(l) != nil || control.Flush() != nil || l.Done || s.Retired {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-t.C:
		}
	}
}
