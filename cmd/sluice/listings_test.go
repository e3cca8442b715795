package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/proxy/admin"
)

// At night 0 reads as "there is no endpoint": it is said where that is so.
func TestAHostThatIsLookedUpHasNoNumberOfEndpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   admin.Cluster
		want string
	}{
		{admin.Cluster{Resolution: "DNS"}, "-"}, {admin.Cluster{Resolution: "NONE"}, "-"}, {admin.Cluster{Unknown: true}, "-"},
		{admin.Cluster{Resolution: "DNS", Endpoints: 2}, "2"}, {admin.Cluster{Resolution: "STATIC", Endpoints: 3}, "3"}, {admin.Cluster{Resolution: "STATIC"}, "0"},
	} {
		if got := clusterRow(c.of)[3]; got != c.want {
			t.Errorf("%+v: %q, want %q", c.of, got, c.want)
		}
	}
}

func TestAnEjectedEndpointsRowSaysWhy(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour)
	if got := endpointRow(admin.Endpoint{State: admin.EjectedEndpoint, Ejected: &until, Error: "it answered 503"})[3]; !strings.HasPrefix(got, "ejected for ") || !strings.HasSuffix(got, ": it answered 503") {
		t.Error(got)
	}
}
