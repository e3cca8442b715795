package suite

import (
	"io"
	"net/http"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/e2e/egress"
)

// Act puts the hosts that the scenarios ask for onto an acted internet, for clusters that
// have no other. They have no IPv6 addresses: nodes have none either.
func Act(internet *egress.Internet) {
	internet.Name("httpbin.org", "203.0.113.10")
	internet.Web("httpbin.org", 80, demo.HTTPBin())
	internet.Name("www.google.com", "203.0.113.20")
	internet.WebTLS("www.google.com", 443, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "A search page, over HTTPS.\n")
	}))
}
