package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// One trailing dot belongs to a name; with more it is another, which cannot be
// registered: least of all under the name that is registered already.
func TestTheHintAboutTwoTrailingDotsSaysNotToRegisterTheName(t *testing.T) {
	t.Parallel()
	up := proxy.ClosedPort(t).String()
	entries := static("a", "a.test", "HTTP", 80, up) + static("b", "a.test", "TLS", 443, up)
	hello := bytes.Replace(helloFor(t, "qqqqqqqq"), []byte("qqqqqqqq"), []byte("a.test.."), 1)
	for dst, text := range map[string]string{
		"203.0.113.1:80":  "GET / HTTP/1.1\r\nHost: A.test..:80\r\nConnection: close\r\n\r\n",
		"203.0.113.1:443": string(hello),
	} {
		r := newRig(t, mesh.RegistryOnly, entries)
		r.said(dst, text)
		await.Silence(t, func() string {
			log := r.log.String()
			if !strings.Contains(log, "refused: not registered") || !strings.Contains(log, "let the client ask for a.test\"") || strings.Contains(log, "to allow it") {
				return dst + ": " + log
			}
			return ""
		})
	}
}

func TestTheHintAboutARefusalIsACommandThatRegistersIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, "")
	r.said("203.0.113.1:80", "GET / HTTP/1.1\r\nHost: A.test.:80\r\nConnection: close\r\n\r\n")
	await.Silence(t, func() string {
		if log := r.log.String(); !strings.Contains(log, "to allow it: echo '{") || !strings.Contains(log, "hosts: [a.test], ports: [{number: 80,") {
			return log
		}
		return ""
	})
}

func TestTheHintAboutARefusalNamesWhatNoCommandWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, "", func(cfg *proxy.Config) { cfg.RegisterIn = "the ConfigMap" })
	r.said("203.0.113.1:80", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	await.Silence(t, func() string {
		if log := r.log.String(); !strings.Contains(log, "to allow it: put '{") || !strings.Contains(log, "}' into the ConfigMap") {
			return log
		}
		return ""
	})
}
