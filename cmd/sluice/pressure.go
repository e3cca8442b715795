package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluice-cni/sluice/proxy"
)

// pressureOptions bound what the proxy holds and say what TLS it refuses.
type pressureOptions struct {
	connections int
	refuseTLS   []string
}

// The kinds of TLS that --refuse-tls knows.
const (
	refuseWithoutSNI = "without-sni"
	refuseECH        = "ech"
)

func (o *pressureOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&o.connections, "max-connections", 0, "how many connections (`N`) of the application are served at once; more get 503 or a reset; 0 is half of what the limit of open files allows, at most 10000")
	f.StringSliceVar(&o.refuseTLS, "refuse-tls", nil, "`KINDS` of TLS to refuse even where the destination is registered, separated by commas: without-sni (no server name), ech (encrypted ClientHello; also the made-up one that browsers send)")
}

// apply checks the options and puts them into cfg; all that is wrong comes at once.
func (o *pressureOptions) apply(cfg *proxy.Config) (errs []error) {
	if o.connections < 0 {
		errs = append(errs, fmt.Errorf("--max-connections %q: is negative; use 1 or more, or 0 for the default", fmt.Sprint(o.connections)))
	}
	cfg.Limits.Connections = o.connections
	for _, kind := range o.refuseTLS {
		switch strings.TrimSpace(kind) {
		case refuseWithoutSNI:
			cfg.RefuseTLS.WithoutSNI = true
		case refuseECH:
			cfg.RefuseTLS.ECH = true
		default:
			errs = append(errs, fmt.Errorf("--refuse-tls %q: not a kind of TLS; use %s, %s or both", kind, refuseWithoutSNI, refuseECH))
		}
	}
	return errs
}
