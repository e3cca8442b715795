package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// Who corrects an object must not be told of the mistakes that are in it now, and in a
// cluster not of those that others made.
func TestValidateSaysWhatIsOfTheFiles(t *testing.T) {
	t.Parallel()
	const (
		wrong  = `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"namespace":"shop","name":"a"},"spec":{"hosts":["a.com"],"ports":[{"number":80,"name":"http","protocol":"HTPS"}],"resolution":"DNS"}}`
		others = `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"namespace":"bank","name":"b"},"spec":{"hosts":["b.com"],"ports":[{"number":80,"name":"http","protocol":"HTPS"}],"resolution":"DNS"}}`
		doubt  = `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"namespace":"bank","name":"v"},"spec":{"hosts":["none.com"],"http":[{"route":[{"destination":{"host":"none.com"}}]}]}}`
		files  = `{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule","metadata":{"namespace":"shop","name":"d"},"spec":{"host":"a.com","trafficPolicy":{"tls":{"mode":"MUTUAL","clientCertificate":"/c.pem","privateKey":"/k.pem"}}}}`
	)
	right := strings.ReplaceAll(wrong, "HTPS", "HTTP")
	write := func(dir, name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s, in, out := apitest.New(t), t.TempDir(), t.TempDir()
	s.Put(kubeapi.ServiceEntries, wrong, others)
	s.Put(kubeapi.VirtualServices, doubt)
	write(in, "a.json", wrong)
	write(in, "b.json", others)
	fixed, same, certificates := write(out, "right.json", right), write(out, "wrong.json", wrong), write(out, "files.json", files)
	for _, c := range []struct {
		args string
		code int
		want []string // lines, but for the last
	}{
		{"--kubeconfig " + s.Kubeconfig() + " " + fixed, 0, nil},
		{"--kubeconfig " + s.Kubeconfig() + " " + same, 1, []string{"wrong.json"}},
		{"--kubeconfig " + s.Kubeconfig(), 1, []string{"shop/a", "bank/b", "bank/v"}},
		{"--kubeconfig " + s.Kubeconfig() + " " + fixed + " " + certificates, 0, []string{"targetPort: 443", "clientCertificate", "privateKey"}},
		{"--config " + in + " " + fixed, 1, []string{"b.json"}},
		{"--config " + in, 1, []string{"a.json", "b.json"}},
	} {
		got, code := sluice(append([]string{"validate"}, strings.Fields(c.args)...)...)
		lines := strings.Split(strings.TrimSpace(got), "\n")
		said := 0
		for _, line := range lines {
			if strings.Contains(line, ": error: ") || strings.Contains(line, ": warning: ") {
				said++
			}
		}
		if code != c.code || said != len(c.want) {
			t.Errorf("validate %s: exit code %d, %d lines\n%s", c.args, code, said, got)
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("validate %s: nothing of %s\n%s", c.args, want, got)
			}
		}
	}
}
