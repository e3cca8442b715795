package mesh

import (
	"slices"
	"testing"
)

func TestAViewListsEveryClusterThatARouteLeadsTo(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		entry("h", "hosts: [h.com, '*.h.org'], ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}], resolution: NONE"),
		entry("t", "hosts: [t.com], addresses: [192.0.2.0/24], ports: [{number: 9, name: tcp, protocol: TCP}], resolution: NONE"),
		entry("n", "hosts: [n.com], ports: [{number: 10, name: tcp, protocol: TCP}, {number: 11, name: any}], resolution: DNS"),
		"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [h.com], http: [{route: [{destination: {host: gone.com}}]}]}",
	))
	var got []string
	for _, c := range v.Clusters() {
		got = append(got, c.Name)
	}
	slices.Sort(got)
	want := []string{
		"outbound|10||n.com", "outbound|11||n.com", "outbound|443||*.h.org", "outbound|443||h.com",
		"outbound|80||*.h.org", "outbound|80||gone.com", "outbound|80||h.com", "outbound|9||t.com",
	}
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
