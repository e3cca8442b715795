package cluster_test

import (
	"io"
	"net/http"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// act puts the page's two hosts onto the world's internet. They have no IPv6 addresses:
// the node has none either.
func act(w *world.World) {
	w.Internet.Name("httpbin.org", "203.0.113.10")
	w.Internet.Web("httpbin.org", 80, demo.HTTPBin())
	w.Internet.Name("www.google.com", "203.0.113.20")
	w.Internet.WebTLS("www.google.com", 443, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "A search page, over HTTPS.\n")
	}))
}
