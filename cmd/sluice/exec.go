package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/sandbox"
)

type execOptions struct {
	include, exclude string
	rangesFile       string // what include auto stands for
	accessLog, log   string
	names            nameOptions
	workload         workloadOptions // its labels alone
	logFormat        string
}

func newExecCommand() *cobra.Command {
	var o execOptions
	c := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG...]",
		Short: "Run a command under governed egress",
		Long: `exec runs a command in a network namespace of its own. All its TCP goes through
a proxy that obeys the resources in the directory, its DNS is answered by them and,
for all other names, by this machine's resolver, all else (QUIC, ping) is refused at
once. No root is needed, and nothing on the machine changes.

The command keeps its user, directory, environment, streams and terminal; signals
reach it, and its exit code is exec's: 128 + n when signal n ended it, 127 when
there is no such command, 126 when it cannot be executed. What it leaves running
is ended with it. Loopback is the command's own: servers on this machine's
127.0.0.1 are not there, except a resolver. Every connection, governed or not, is
accepted here first and then carried: one to a closed port is reset, not refused.

An ordinary user's command has no capability over the namespace, and sees no other
user: sudo and the like do not work in it. Run by root, the command stays root and
loses what could lead out: NET_ADMIN, NET_RAW, SYS_ADMIN, SYS_PTRACE, SYS_MODULE,
SYS_RAWIO, BPF, PERFMON, CHECKPOINT_RESTORE. exec governs programs; it does not
imprison one that asks another on the machine (a Docker socket, systemd) to act
for it.`,
		Example: `  sluice exec -- curl http://httpbin.org/headers
  sluice exec --include-ip-ranges 10.0.0.0/8 --outbound-policy ALLOW_ANY -- make test
  sluice exec --labels app=shop,version=v2 -- ./shop`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(errors.New("a command is wanted"), "usage: "+c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runExec(c, o, args) },
	}
	addPolicyFlag(c)
	dnsPolicyFlags(c)
	namespaceFlag(c, workloadNamespace)
	credentialsFlag(c)
	f := c.Flags()
	f.SetInterspersed(false) // flags after the command are the command's
	f.StringVar(&o.include, "include-ip-ranges", "*", "`LIST` of destinations that are governed; others are relayed untouched")
	f.StringVar(&o.rangesFile, "ranges-file", rangesfile.DefaultPath, "what --include-ip-ranges auto stands for, as 'sluice cidr --write' `FILE` wrote it")
	f.StringVar(&o.exclude, "exclude-ip-ranges", "", "`LIST` of destinations that are relayed untouched although included")
	f.StringVar(&o.workload.labels, "labels", "", "the command's labels, a `LIST` such as app=shop,version=v1: rules select by them")
	o.names.flags(c, true)
	serveAdminFlag(c)
	f.StringVar(&o.accessLog, "access-log", "off", "where a line per request goes: a `FILE`, - for standard output, or off")
	f.StringVar(&o.logFormat, "access-log-format", "json", accessLogFormatFlag)
	f.StringVar(&o.log, "log", "off", "where the proxy's own messages go: a `FILE`, - for standard error, or off; errors are always on standard error")
	return c
}

func runExec(c *cobra.Command, o execOptions, argv []string) error {
	governed, rangesErr := o.governed(c.ErrOrStderr())
	policy, policyErr := outboundPolicy(c)
	format, formatErr := accessLogFormat(o.logFormat)
	workload, workloadErr := o.workload.workload(c)
	cfg := proxy.Config{
		Workload:        workload,
		Governed:        governed,
		AccessLogFormat: format,
		Register:        commandLine(c, "create -f -"),
		DrainTimeout:    execDrain,
	}
	bindErr := errors.Join(o.names.apply(&cfg, dns.Through(nil)), o.names.given(c))
	names, namesErr := dnsConfig(c)
	names.ResolvConf = o.names.resolvConf
	if err := errors.Join(rangesErr, policyErr, bindErr, namesErr, formatErr, workloadErr); err != nil {
		return usage(err, "see 'sluice exec --help'")
	}
	messages, closeLog, logErr := openOutput("log", o.log, c.ErrOrStderr())
	defer closeLog()
	access, closeAccess, accessErr := openOutput("access-log", o.accessLog, c.OutOrStdout())
	defer closeAccess()
	if err := errors.Join(logErr, accessErr); err != nil {
		return err
	}
	log := execLog(messages, c.ErrOrStderr())
	credentials, err := credentialStore(c, log)
	if err != nil {
		return err
	}
	addresses, err := openLedger("", true, log)
	if err != nil {
		return err
	}
	store, err := openStore(c, file.Options{Options: virtual(addresses, mesh.Options{Policy: policy}), Log: log})
	if err != nil {
		return err
	}
	asked, err := listenAdmin(c, "exec", log)
	if err != nil {
		return err
	}
	if asked != nil {
		defer asked.Close() // where it never came to be served
	}
	code, err := sandbox.Run(sandbox.Command{Argv: argv, Serve: func(ctx context.Context, s sandbox.Sockets) error {
		cfg.Listeners, cfg.AccessLog, cfg.Log, cfg.Credentials = s.TCP, access, log, credentials
		return serveSandbox(ctx, store, s, cfg, names, asked)
	}})
	if errors.Is(err, sandbox.ErrForbidden) {
		err = hinted(err, "as root it works without: sudo sluice exec -- sudo -u $USER COMMAND")
	}
	if err != nil {
		report(c.ErrOrStderr(), err, c.Root())
	}
	return exitCode(code)
}

// execDrain is how long what the command sent last may take to arrive after its end.
const execDrain = 2 * time.Second

// serveSandbox carries the command's connections and answers its DNS, from this
// machine's resolvers where nothing registers a name.
func serveSandbox(ctx context.Context, store *file.Store, s sandbox.Sockets, cfg proxy.Config, names dnsproxy.Config, asked net.Listener) error {
	names.Packets, names.Streams = s.DNSPackets, s.DNSStreams
	names.Workload, names.Log = cfg.Workload, cfg.Log
	// The command's namespace has a route in each family that it has a socket in.
	_, ipv6 := families(s.DNSPackets)
	names.Reachable = func() (bool, bool) { return true, ipv6 }
	server, err := dnsproxy.New(names)
	if err != nil {
		return err
	}
	return serveEgress(ctx, store, cfg, server, asked)
}

// families says which the sockets are of.
func families(sockets []*net.UDPConn) (ipv4, ipv6 bool) {
	for _, c := range sockets {
		if c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is4() {
			ipv4 = true
		} else {
			ipv6 = true
		}
	}
	return ipv4, ipv6
}

// governed says to which destinations policy applies, by the rules that a pod
// with these ranges would have. nil governs everything.
func (o execOptions) governed(warnings io.Writer) (func(netip.AddrPort) bool, error) {
	c := rules.Default()
	c.DNSCapture = true // virtual addresses are governed
	var errs []error
	for _, f := range []struct{ field, flag, text string }{
		{"includeIPRanges", "--include-ip-ranges", o.include},
		{"excludeIPRanges", "--exclude-ip-ranges", o.exclude},
	} {
		notes, err := c.Set(f.field, f.text)
		if err != nil { // it speaks of the field, the user of the flag
			err = errors.New(strings.ReplaceAll(err.Error(), f.field, f.flag))
		}
		errs = append(errs, err)
		for _, n := range notes {
			fmt.Fprintf(warnings, "warning: %s: %s\n", f.flag, n.Text)
		}
	}
	if err := errors.Join(append(errs, c.Validate())...); err != nil {
		return nil, err
	}
	c, _, err := c.Resolve(func() (cidr.List, error) { return rangesfile.Read(o.rangesFile, time.Now()) })
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "includeIPRanges", "--include-ip-ranges"))
	}
	if o.include == "*" && o.exclude == "" {
		return nil, nil
	}
	return func(dst netip.AddrPort) bool {
		verdict, _ := rules.Decide(c, rules.Flow{Protocol: rules.TCP, Dst: dst.Addr(), DstPort: dst.Port()})
		return verdict == rules.ToProxy
	}, nil
}

// execLog keeps the proxy's messages away from the command's standard error, but for
// errors, which are there whatever has the others.
func execLog(messages, stderr io.Writer) *slog.Logger {
	onlyErrors := slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})
	switch messages {
	case nil:
		return slog.New(onlyErrors)
	case stderr:
		return slog.New(slog.NewTextHandler(stderr, nil))
	}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(messages, nil), onlyErrors))
}
