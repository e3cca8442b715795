package quick_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/quick"
)

func TestAnAPIServerKeepsItsObjectsOverItsEnd(t *testing.T) {
	began := time.Now()
	s := quick.New(t)
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	s.Apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	s.Stop()
	if err := s.Ready(); err == nil {
		t.Error("it is ready though it was ended")
	}
	s.Restart()
	names, err := s.Kubectl("get", "namespaces", "-o", "name")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(names, "namespace/shop\n") {
		t.Errorf("after its restart it has %q, not namespace/shop", names)
	}
}
