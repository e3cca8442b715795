package demo

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strconv"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

// HTTPBin answers what the page asks of httpbin.org: /headers, /delay/N and
// /status/N; and /anything, once it has read the request's whole body.
func HTTPBin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"headers": headers(r)})
	})
	mux.HandleFunc("/anything", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // nobody is there to answer
		}
		answer(w, map[string]any{"method": r.Method, "url": "http://" + r.Host + r.URL.Path, "headers": headers(r)})
	})
	mux.HandleFunc("/delay/{seconds}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseFloat(r.PathValue("seconds"), 64)
		if err != nil || n < 0 {
			http.Error(w, "delay: not a number of seconds", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(time.Duration(min(n, 10) * float64(time.Second))):
			answer(w, map[string]any{"url": "http://" + r.Host + r.URL.Path, "headers": headers(r)})
		case <-r.Context().Done(): // the client, or a proxy with a time limit, gave up
		}
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 599 {
			http.Error(w, "status: not a status from 200 to 599", http.StatusBadRequest)
			return
		}
		w.WriteHeader(code)
	})
	return mux
}

func headers(r *http.Request) map[string]string {
	h := map[string]string{"Host": r.Host}
	for name := range r.Header {
		h[name] = r.Header.Get(name)
	}
	return h
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v)
}

func page(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, text+"\n")
	})
}
