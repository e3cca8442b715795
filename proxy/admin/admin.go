// Package admin answers questions about a running proxy, over HTTP on a unix socket:
// what is in force, where it leads, what is connected. It changes nothing. Only the
// proxy's own user and root are answered. Explain says what would become of a request,
// by a running proxy or by files alone.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/aside"
)

// Proxy is what the questions are about, a *proxy.Server.
type Proxy interface {
	View() *mesh.View // nil before there is a configuration
	Workload() mesh.Workload
	Ready() error
	Pools() []proxy.Pool
	Known
	Connections(limit int) (shown []proxy.ConnectionStatus, open int)
}

// Server answers for one proxy.
type Server struct {
	Proxy            Proxy
	Version, Command string // for Status
	Log              *slog.Logger
}

// Bounds of an answer.
const (
	DefaultLimit = 1000   // items, where the question names no limit
	MaxLimit     = 100000 // items, whatever it names
	maxAtATime   = 4      // answers that are made at a time; others are told to come later
)

// Paths of the questions.
const (
	StatusPath      = "/v1/status"
	RoutesPath      = "/v1/routes"
	ClustersPath    = "/v1/clusters"
	EndpointsPath   = "/v1/endpoints"
	ConnectionsPath = "/v1/connections"
	ExplainPath     = "/v1/explain" // POST, with an Inquiry
)

// Handler answers the paths.
func (s Server) Handler() http.Handler {
	mux := http.NewServeMux()
	places := make(chan struct{}, maxAtATime)
	answer := func(pattern string, about func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			default:
				http.Error(w, "too many questions at a time; ask again", http.StatusServiceUnavailable)
				return
			}
			text, err := about(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(text); err != nil {
				s.Log.Debug("an admin client left before its answer", "error", err)
			}
		})
	}
	list := func(path string, about func(Question) any) {
		answer("GET "+path, func(r *http.Request) (any, error) {
			q, err := readQuestion(r)
			if err != nil {
				return nil, err
			}
			return about(q), nil
		})
	}
	list(StatusPath, func(Question) any { return s.status() })
	list(RoutesPath, func(q Question) any { return s.routes(q) })
	list(ClustersPath, func(q Question) any { return s.clusters(q) })
	list(EndpointsPath, func(q Question) any { return s.endpoints(q) })
	list(ConnectionsPath, func(q Question) any { return s.connections(q) })
	answer("POST "+ExplainPath, s.explain)
	return mux
}

func (s Server) explain(r *http.Request) (any, error) {
	var i Inquiry
	if err := json.NewDecoder(io.LimitReader(r.Body, 2*maxInquiry)).Decode(&i); err != nil {
		return nil, fmt.Errorf("the inquiry cannot be read: %w", err)
	}
	view := s.Proxy.View()
	if view == nil {
		return nil, errors.New("no configuration is in force")
	}
	return Explain(view, s.Proxy, i)
}

// Serve answers on l until ctx ends. It closes l.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	return aside.Serve(ctx, l, s.Handler())
}

// Question narrows an answer.
type Question struct {
	Host  string // only those whose host contains it
	Port  uint16 // only those of that port, 0: all
	Limit int    // items at most; 0: DefaultLimit
}

func readQuestion(r *http.Request) (Question, error) {
	values := r.URL.Query()
	q := Question{Host: strings.ToLower(values.Get("host")), Limit: DefaultLimit}
	if text := values.Get("port"); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return q, badValue("port", text, "a port; use 1 to 65535")
		}
		q.Port = uint16(port)
	}
	if text := values.Get("limit"); text != "" {
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return q, badValue("limit", text, "a number of items")
		}
		if limit > 0 {
			q.Limit = min(int(limit), MaxLimit)
		}
	}
	return q, nil
}

// wants says whether something about a host on a port is asked for.
func (q Question) wants(port uint16, host string) bool {
	return (q.Port == 0 || q.Port == port) && strings.Contains(host, q.Host)
}

type badValueError struct{ field, value, want string }

func badValue(field, value, want string) error { return &badValueError{field, value, want} }

func (e *badValueError) Error() string {
	return e.field + " " + strconv.Quote(e.value) + ": not " + e.want
}
