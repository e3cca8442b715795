package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-cni/sluice/proxy/aside"
)

// Endpoint serves the metrics and the state of health over HTTP.
type Endpoint struct {
	Metrics *Metrics
	// Ready says what is missing, nil when nothing is; nil: always ready.
	Ready func() error
	// Log receives what goes wrong; nil: slog.Default().
	Log *slog.Logger
}

// maxScrapes is how many are answered at a time; others are told to come later. Whoever
// shares the pod can reach the endpoint.
const maxScrapes = 3

// Handler answers the endpoint's paths.
func (e Endpoint) Handler() http.Handler {
	log := e.Log
	if log == nil {
		log = slog.Default()
	}
	scrape := promhttp.HandlerFor(e.Metrics.Registry(), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrape)
	mux.Handle("GET /stats/prometheus", scrape) // where Istio has it
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if e.Ready != nil {
			if err := e.Ready(); err != nil {
				http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}

// Serve answers on l until ctx ends; what is under way then may finish within 2 s.
// It closes l.
func (e Endpoint) Serve(ctx context.Context, l net.Listener) error {
	return aside.Serve(ctx, l, e.Handler())
}
