package kube

import (
	"strings"
	"testing"
)

func TestWhichSettingsOfCiliumDefeatTheRedirect(t *testing.T) {
	t.Parallel()
	const exclusive, balances = "cni.exclusive=false", "socketLB.hostNamespaceOnly=true"
	for data, want := range map[string][]string{
		`{"cni-exclusive":"true","kube-proxy-replacement":"true"}`:                                   {exclusive, balances}, // as it comes
		`{"cni-exclusive":"false","bpf-lb-sock":"true"}`:                                             {balances},
		`{"kube-proxy-replacement":"strict"}`:                                                        {balances},
		`{"cni-exclusive":"false","kube-proxy-replacement":"true","bpf-lb-sock-hostns-only":"true"}`: nil,
		`{"cni-exclusive":"true","bpf-lb-sock":"true","bpf-lb-sock-hostns-only":"true"}`:             {exclusive},
		`{"bpf-lb-sock":"false","kube-proxy-replacement":"false"}`:                                   nil,
		`{}`: nil,
	} {
		got := ciliumTroubles([]byte(`{"data":` + data + `}`))
		if len(got) != len(want) {
			t.Errorf("%s: %q", data, got)
			continue
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%s: %q, want %s", data, got[i], want[i])
			}
		}
	}
	if got := ciliumTroubles([]byte("nonsense")); got != nil {
		t.Errorf("%q", got)
	}
}
