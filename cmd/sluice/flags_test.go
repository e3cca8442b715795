package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestFlagsAreTheSameInCamelCase(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"includeIPRanges": "include-ip-ranges", "include-ip-ranges": "include-ip-ranges", "outboundPolicy": "outbound-policy",
		"include-IP-ranges": "include-ip-ranges", "config": "config", "excludeOutboundPorts": "exclude-outbound-ports",
		"proxyUID": "proxy-uid", "DNSPort": "dns-port", "exemptUIDs": "exempt-uids", "exempt-uids": "exempt-uids", "nonTCP": "non-tcp", "dnsServers": "dns-servers",
	} {
		if got := kebab(written); got != want {
			t.Errorf("%s is %s, want %s", written, got, want)
		}
	}
}

func TestConfigurationDirectoryComesFromTheEnvironment(t *testing.T) {
	t.Setenv("SLUICE_CONFIG", "/nowhere/from-the-environment")
	for args, want := range map[string]string{
		"get":                            "/nowhere/from-the-environment",
		"get --config /nowhere/the-flag": "/nowhere/the-flag",
	} {
		var out, err bytes.Buffer
		code := run(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &err})
		if code != 1 || !strings.Contains(err.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, err.String())
		}
	}
}
