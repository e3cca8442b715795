package main

import (
	"strings"
	"testing"
)

func TestAChartsAddressIsUnderstood(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"10.0.0.1:15090": "10.0.0.1:15090", ":15090": ":15090", "off": "off", "": "", "[::1]:15090": "[::1]:15090",
		"2001:db8::1:15090": "[2001:db8::1]:15090", "fd00::a:b:15090": "[fd00::a:b]:15090", "nonsense": "nonsense",
	} {
		if got := ipv6Bracketed(given); got != want {
			t.Errorf("%q is %q, want %q", given, got, want)
		}
	}
}

func TestAClusterIsFollowedInsteadOfADirectory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		o      kubernetesOptions
		config string
		want   string
	}{
		{kubernetesOptions{}, "/etc/sluice", ""},
		{kubernetesOptions{from: ownCluster, node: "a", domain: "cluster.local"}, "", ""},
		{kubernetesOptions{from: ownCluster, node: "a", domain: "cluster.local"}, "/etc/sluice", `--config "/etc/sluice": not beside --kubernetes`},
		{kubernetesOptions{from: ownCluster, domain: "cluster.local"}, "", "NODE_NAME"},
		{kubernetesOptions{from: ownCluster, node: "a", domain: ".local."}, "", `--cluster-domain ".local."`},
	} {
		err := test.o.check(test.config)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v with --config %q: %v", test.o, test.config, err)
		}
	}
}
