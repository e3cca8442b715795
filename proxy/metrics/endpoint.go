package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Endpoint serves the metrics and the state of health over HTTP.
type Endpoint struct {
	Metrics *Metrics
	// Ready says what is missing, nil when nothing is; nil: always ready.
	Ready func() error
	// Log receives what goes wrong; nil: slog.Default().
	Log *slog.Logger
}

// Bounds of what the endpoint's clients may take: whoever shares the pod can
// reach it.
const (
	maxClients   = 32 // connections at a time; others wait
	maxScrapes   = 3  // at a time; others are told to come later
	maxHeadBytes = 8 << 10
	stopWithin   = 2 * time.Second
)

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
	server := &http.Server{
		Handler:           e.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than usual scrape intervals
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(&bounded{Listener: l, places: make(chan struct{}, maxClients)}) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if server.Shutdown(late) != nil {
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bounded accepts only so many connections at a time.
type bounded struct {
	net.Listener
	places chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	b.places <- struct{}{}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
