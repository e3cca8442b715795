package kubeapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

func TestObjectsAreWrittenAndRead(t *testing.T) {
	t.Parallel()
	s, ctx := apitest.New(t), context.Background()
	c, key := s.Cluster(), kubeapi.Key{Namespace: "shop", Name: "a"}
	for _, step := range []struct{ v, want string }{{"1", "created"}, {"1", "unchanged"}, {"2", "configured"}} {
		if done, _, err := c.Apply(ctx, kubeapi.ServiceEntries, []byte(entry("shop", "a", step.v))); done != step.want || err != nil {
			t.Errorf("apply %s: %q, %v; want %s", step.v, done, err, step.want)
		}
	}
	if done, _, err := c.DryRun().Apply(ctx, kubeapi.ServiceEntries, []byte(entry("shop", "a", "3"))); done != "configured" || err != nil {
		t.Errorf("dry run: %q, %v", done, err)
	}
	o, err := c.Get(ctx, kubeapi.ServiceEntries, key)
	if err != nil || o.Key != key || !strings.Contains(string(o.JSON), `"v":"2"`) {
		t.Errorf("get: %s, %v", o.JSON, err)
	}
	if err := c.Create(ctx, kubeapi.ServiceEntries, []byte(entry("shop", "a", "1"))); !errors.Is(err, kubeapi.ErrExists) {
		t.Errorf("create of what is there: %v", err)
	}
	if err := c.Create(ctx, kubeapi.ServiceEntries, []byte(entry("other", "b", "1"))); err != nil {
		t.Error(err)
	}
	all, err := c.List(ctx, kubeapi.ServiceEntries, kubeapi.Selector{})
	if err != nil || len(all) != 2 || all[0].Namespace != "other" {
		t.Errorf("list: %v, %v", all, err)
	}
	if one, err := c.List(ctx, kubeapi.ServiceEntries, kubeapi.Selector{Namespace: "shop"}); err != nil || len(one) != 1 {
		t.Errorf("list of a namespace: %v, %v", one, err)
	}
	if err := c.Patch(ctx, kubeapi.ServiceEntries, key, []byte(`{"spec":{"v":"4"}}`)); err != nil {
		t.Error(err)
	}
	if text := string(s.Object(kubeapi.ServiceEntries, key)); !strings.Contains(text, `"v":"4"`) {
		t.Errorf("after a patch: %s", text)
	}
	if err := c.Delete(ctx, kubeapi.ServiceEntries, key); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(ctx, kubeapi.ServiceEntries, key); !errors.Is(err, kubeapi.ErrNotFound) {
		t.Errorf("get of what is gone: %v", err)
	}
}

// What somebody else changes between the look and the change is not lost.
func TestAChangeBeginsAnewWhereAnotherCameBetween(t *testing.T) {
	t.Parallel()
	s, key := apitest.New(t), kubeapi.Key{Name: "worker"}
	s.Put(kubeapi.Nodes, `{"metadata":{"name":"worker"},"spec":{"v":"1"}}`)
	looks := 0
	err := s.Cluster().Change(context.Background(), kubeapi.Nodes, key, func(map[string]any) map[string]any {
		if looks++; looks == 1 {
			s.Put(kubeapi.Nodes, `{"metadata":{"name":"worker"},"spec":{"v":"2"}}`)
		}
		return map[string]any{"spec": map[string]any{"looks": looks}}
	})
	if text := string(s.Object(kubeapi.Nodes, key)); err != nil || looks != 2 || !strings.Contains(text, `"v":"2"`) || !strings.Contains(text, `"looks":2`) {
		t.Errorf("%v after %d looks: %s", err, looks, text)
	}
}

// An error says what kind it is, and what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	s, ctx := apitest.New(t), context.Background()
	c, key := s.Cluster(), kubeapi.Key{Namespace: "shop", Name: "a"}
	get := func() error { _, err := c.Get(ctx, kubeapi.Secrets, key); return err }
	for _, step := range []struct {
		prepare func()
		is      error
		says    string
	}{
		{func() {}, kubeapi.ErrNotFound, "Secret shop/a"},
		{func() { s.Refuse(kubeapi.Secrets, 403) }, kubeapi.ErrForbidden, `a Role in namespace "shop" needs a rule with apiGroups [""], resources ["secrets"], verbs ["get"]`},
		{func() { s.Refuse(kubeapi.Secrets, 503) }, kubeapi.ErrUnreachable, "overloaded"},
		{func() { s.Refuse(kubeapi.Secrets, 0); s.Serve(kubeapi.Secrets, "") }, kubeapi.ErrMissing, "CustomResourceDefinition"},
		{s.Stop, kubeapi.ErrUnreachable, "API server test"},
	} {
		step.prepare()
		if err := get(); !errors.Is(err, step.is) || !strings.Contains(err.Error(), step.says) {
			t.Errorf("%v; want it to be %q and to say %s", err, step.is, step.says)
		}
	}
	for text, says := range map[string]string{
		`{`: "not an object in JSON", `{"metadata":{"namespace":"x"}}`: "metadata.name", `{"metadata":{"name":"x"}}`: "metadata.namespace",
	} {
		if err := c.Create(ctx, kubeapi.ServiceEntries, []byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("create of %s: %v", text, err)
		}
	}
}

func TestConnectSaysWhatIsWrongWithAKubeconfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, context, says string }{
		{filepath.Join(dir, "nothing"), "", "nothing"},
		{broken, "", broken},
		{apitest.New(t).Kubeconfig(), "elsewhere", `"elsewhere"`},
	} {
		if _, err := kubeapi.Connect(c.path, c.context); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Connect(%q, %q): %v", c.path, c.context, err)
		}
	}
	c, err := kubeapi.Connect(apitest.New(t).Kubeconfig(), "test")
	if err != nil || c.Name() != "test" || c.Namespace() != "default" {
		t.Errorf("%v, %v", c, err)
	}
	path := filepath.Join(dir, "config")
	text := `{"clusters":[{"name":"w","cluster":{"server":"http://127.0.0.1:1"}}],"contexts":[{"name":"w","context":{"cluster":"w","namespace":"shop"}}],"current-context":"w"}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = kubeapi.ConnectAsKubectl(path, ""); err != nil || c.Namespace() != "shop" {
		t.Errorf("%v, %v", c, err)
	}
}

// A person means the kubeconfig, in a pod too. Not parallel: it sets the environment.
func TestAKubeconfigComesBeforeThePodsOwnCluster(t *testing.T) {
	s := apitest.New(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	t.Setenv("KUBECONFIG", s.Kubeconfig())
	if c, err := kubeapi.ConnectAsKubectl("", ""); err != nil || c.Name() != "test" {
		t.Errorf("%v, %v", c, err)
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kubeapi.ConnectAsKubectl("", ""); !errors.Is(err, kubeapi.ErrNowhere) {
		t.Errorf("without any: %v", err)
	}
	if _, err := kubeapi.ConnectAsKubectl("", "staging"); !errors.Is(err, kubeapi.ErrNowhere) || !strings.HasPrefix(err.Error(), `context "staging": no kubeconfig`) {
		t.Errorf("with a context: %v", err)
	}
}

// What an admission policy warns of reaches who asked for it, and nobody else.
func TestWarningsAreHandedOn(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", `299 - "mind the gap"`)
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"x","name":"y"}}`))
	}))
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{"clusters":[{"name":"w","cluster":{"server":"` + s.URL + `"}}],"contexts":[{"name":"w","context":{"cluster":"w"}}],"current-context":"w"}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kubeapi.Connect(path, "")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	told, err := c.WithWarnings(func(text string) { said = append(said, text) })
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*kubeapi.Cluster{c, told} {
		if _, err := one.Get(context.Background(), kubeapi.ConfigMaps, kubeapi.Key{Namespace: "x", Name: "y"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(said) != 1 || said[0] != "mind the gap" {
		t.Errorf("said %q", said)
	}
}
