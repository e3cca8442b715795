package main

import (
	"context"
	"errors"
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

// runs is a runtime that says only which network configuration it uses.
type runs string

func (runs) Version(context.Context) (name, version string, err error) {
	return "containerd", "v2", nil
}

func (r runs) NetworkConfig(context.Context) ([]byte, error) {
	switch r {
	case "":
		return nil, nil
	case "away":
		return nil, errors.New("away")
	}
	return []byte(r), nil
}

// A node's taint stays while pods that start would not be captured.
func TestANodeTakesPodsOnceTheRuntimeCallsThePlugin(t *testing.T) {
	t.Parallel()
	ready := func() error { return nil }
	for runtime, want := range map[runs]string{
		`{"plugins":[{"type":"ptp"},{"type":"sluice-cni"}]}`: "",
		`{"plugins":[{"type":"ptp"}]}`:                       "does not use it",
		"away":                                               "away",
		"":                                                   "", // CRI-O does not say
	} {
		err := takesPods(ready, runtime)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", runtime, err)
		}
	}
	if err := takesPods(ready, nil); err != nil {
		t.Errorf("without a runtime: %v", err)
	}
	unready := errors.New("pods are being taken over")
	if err := takesPods(func() error { return unready }, runs("")); err != unready {
		t.Error(err)
	}
}
