package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// adminVariable names the socket where no flag does.
const adminVariable = "SLUICE_ADMIN"

// serveAdminFlag is --admin of a command that runs a proxy.
func serveAdminFlag(c *cobra.Command) {
	c.Flags().String("admin", "", "unix socket `PATH` at which 'sluice clusters', 'sluice explain --running' and the like ask this proxy, or off (default $"+adminVariable+", else one of its own that they find by themselves)")
}

// listenAdmin opens the admin socket, nil for none. Egress goes on without it, unless
// somebody asked for that very path.
func listenAdmin(c *cobra.Command, command string, log *slog.Logger) (net.Listener, error) {
	path := cmp.Or(flagValue(c, "admin"), os.Getenv(adminVariable))
	if path == "off" {
		return nil, nil
	}
	var l net.Listener
	var err error
	if path == "" {
		l, err = admin.ListenDefault(admin.Directories(), command)
	} else {
		l, err = admin.Listen(path)
	}
	switch {
	case err == nil:
		log.Info("admin", "socket", l.Addr())
		return l, nil
	case c.Flags().Changed("admin"):
		return nil, hinted(fmt.Errorf("--admin %q: %w", path, reason(err)), "--admin off has none; its directory must be there and this user's to write to")
	}
	if path != "" {
		err = fmt.Errorf("%s %q: %w", adminVariable, path, reason(err))
	}
	log.Warn("no admin socket: 'sluice clusters' and the like cannot ask this proxy; egress goes on without", "error", err, "hint", "name another with --admin, or off")
	return nil, nil
}

// withAdmin answers at the socket for as long as serve runs.
func withAdmin(l net.Listener, server *proxy.Server, command string, log *slog.Logger, serve func(context.Context) error) func(context.Context) error {
	if l == nil {
		return serve
	}
	answers := admin.Server{Proxy: server, Version: buildVersion(), Command: command, Log: log}
	return alongside("the admin socket", log, func(ctx context.Context) error { return answers.Serve(ctx, l) }, serve)
}

// askAdminFlag is --admin of a command that asks.
func askAdminFlag(c *cobra.Command) {
	c.Flags().String("admin", "", "unix socket `PATH` of the proxy to ask (default $"+adminVariable+", else the only one that is running)")
	c.Flags().String("pod", "", "ask the node's agent about this pod: `NAMESPACE/NAME`, or netns/ID of 'sluice status' for one without a name; --admin is the agent's socket then (default "+defaultAgentSocket+")")
}

// adminClient finds the proxy to ask.
func adminClient(c *cobra.Command) (admin.Client, error) {
	if pod := flagValue(c, "pod"); pod != "" {
		namespace, name, found := strings.Cut(pod, "/")
		if !found || namespace == "" || name == "" || strings.ContainsAny(name, "/?#") {
			return admin.Client{}, usage(fmt.Errorf("--pod %q: not a pod; use NAMESPACE/NAME", pod), "'sluice status' lists the pods")
		}
		return admin.Client{Path: cmp.Or(flagValue(c, "admin"), defaultAgentSocket), Beneath: agent.PodsPath + pod}, nil
	}
	if path := cmp.Or(flagValue(c, "admin"), os.Getenv(adminVariable)); path != "" {
		return admin.Client{Path: path}, nil
	}
	running := slices.DeleteFunc(admin.Running(admin.Directories()), func(path string) bool {
		// The agent answers for single pods only, the holder in words of its own.
		return path == defaultAgentSocket || path == holder.DefaultSocket
	})
	switch len(running) {
	case 1:
		return admin.Client{Path: running[0]}, nil
	case 0:
		hint := "start 'sluice proxy', or name its socket with --admin"
		if admin.Answers(defaultAgentSocket) {
			hint = "this node has an agent: --pod NAMESPACE/NAME asks about one of its pods"
		}
		if os.Geteuid() != 0 {
			hint += "; root's proxies are asked with sudo"
		}
		return admin.Client{}, hinted(errors.New("no proxy of this user's is running here"), ofNode(c, hint, podFlag))
	default:
		err := fmt.Errorf("%d proxies are running: which one?", len(running))
		for _, path := range running {
			err = fmt.Errorf("%w\n  %s%s", err, path, describeProxy(c.Context(), path))
		}
		return admin.Client{}, hinted(err, "--admin PATH names one of them")
	}
}

// podFlag is how an agent is asked about a pod's proxy.
const podFlag = " --pod NAMESPACE/NAME"

// askHint says what to look at when a question had no answer.
func askHint(c *cobra.Command, client admin.Client) string {
	if client.Beneath == "" && filepath.Base(client.Path) == handover.SocketName {
		return "an agent listens there: --pod NAMESPACE/NAME says which of its pods is meant"
	}
	if client.Beneath != "" {
		return ofNode(c, remedy.Here().Say(remedy.OtherNode), podFlag)
	}
	return "--admin names the socket of a running proxy"
}

// describeProxy is what a proxy says of itself, as far as it answers.
func describeProxy(ctx context.Context, path string) string {
	var s admin.Status
	if (admin.Client{Path: path}).Ask(ctx, admin.StatusPath, admin.Question{}, &s) != nil {
		return ""
	}
	text := fmt.Sprintf(": sluice %s, process %d, namespace %s", printable(s.Command), s.PID, printable(s.Namespace))
	for _, more := range []struct{ name, value string }{{"workload", s.Workload}, {"pod", s.Pod}} {
		if more.value != "" {
			text += ", " + more.name + " " + printable(more.value)
		}
	}
	return text
}
