package main

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
)

func TestRangesOfALiveClusterAreKept(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/apis/networking.k8s.io/v1/servicecidrs":
			fmt.Fprint(w, `{"kind":"ServiceCIDRList","apiVersion":"networking.k8s.io/v1","items":[{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16"]}}]}`)
		case "/api/v1/nodes":
			fmt.Fprint(w, `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"one"},"spec":{"podCIDRs":["10.244.1.0/24"]}}]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	dir := t.TempDir()
	config, kept := filepath.Join(dir, "config"), filepath.Join(dir, "kept", "ranges.json")
	text := fmt.Sprintf("current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: '%s', certificate-authority-data: %s}}]\n", server.URL, ca)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", config)
	for _, from := range [][]string{{"--from-cluster"}, {"--kubeconfig", config}} {
		out, code := sluice(append([]string{"cidr", "-o", "list", "--write", kept, "--valid-for", "1h"}, from...)...)
		if code != 0 || !strings.HasPrefix(out, "10.96.0.0/16,10.244.1.0/24\n") || !strings.Contains(out, kept+" written: 2 ranges") {
			t.Fatal(code, out)
		}
		list, err := rangesfile.Read(kept, time.Now())
		if err != nil || list.String() != "10.96.0.0/16,10.244.1.0/24" {
			t.Error(list, err)
		}
		if _, err := rangesfile.Read(kept, time.Now().Add(2*time.Hour)); err == nil {
			t.Error("is valid for ever")
		}
		f, err := rangesfile.Load(kept)
		if err != nil || len(f.Sources) != 2 || !strings.HasSuffix(f.Sources[1].From, "/api/v1/nodes: Node one spec.podCIDRs[0]") {
			t.Error(f, err)
		}
	}
}
