package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
)

func addPolicyFlag(c *cobra.Command) {
	c.Flags().String("outbound-policy", "REGISTRY_ONLY", "`POLICY`: what happens to destinations that no ServiceEntry registers: REGISTRY_ONLY refuses them, ALLOW_ANY lets them pass, Observe too and notes what REGISTRY_ONLY would refuse; a Sidecar overrides it")
}

func outboundPolicy(c *cobra.Command) (mesh.OutboundPolicy, error) {
	text := flagValue(c, "outbound-policy")
	p, ok := mesh.ParseOutboundPolicy(text)
	if !ok {
		return 0, fmt.Errorf("--outbound-policy %q: not a policy; use REGISTRY_ONLY, ALLOW_ANY or Observe", text)
	}
	return p, nil
}

// openStore reads the directory of resources. Any error in it is an error, and
// all come at once: there is no earlier content to go on with.
func openStore(c *cobra.Command, opts file.Options) (*file.Store, error) {
	dir := configDir(c)
	store, err := file.Open(dir, opts)
	if asType[*file.DirectoryError](err) {
		return nil, explainDirectory(c, err)
	}
	if err != nil {
		return nil, hinted(err, "'sluice validate "+quoted(dir)+"' checks it again")
	}
	return store, nil
}

// serveEgress runs a proxy that follows store until ctx ends, and beside it the
// server of its workload's DNS. asked is the admin socket, nil for none.
func serveEgress(ctx context.Context, store *file.Store, cfg proxy.Config, names *dnsproxy.Server, asked net.Listener) error {
	server, err := newEgress(store, cfg, names)
	if err != nil {
		return err
	}
	return together(ctx, store.Run, withAdmin(asked, server, "exec", cfg.Log, server.Serve), names.Serve)
}

// newEgress makes a proxy that follows store, and has the server of its workload's
// DNS, if any, follow it too. The proxy has each snapshot first: whatever a name is
// answered with may be used at once.
func newEgress(store *file.Store, cfg proxy.Config, names *dnsproxy.Server) (*proxy.Server, error) {
	if names != nil {
		cfg.Answers = names
	}
	server, err := proxy.New(cfg)
	if err != nil {
		return nil, err
	}
	store.SubscribeWithErrors(func(s *mesh.Snapshot, wrong int) {
		server.Update(s)
		if names != nil {
			names.Update(s)
		}
		if wrong > 0 {
			cfg.Log.Warn("configuration in force; files with errors keep their last good content", "resources", s.Len(), "errors", wrong)
			return
		}
		cfg.Log.Info("configuration in force", "resources", s.Len())
	})
	return server, nil
}
