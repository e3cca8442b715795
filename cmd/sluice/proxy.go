package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

type proxyOptions struct {
	listen    string
	mark      string
	accessLog string
	logFormat string
	metrics   string
	drain     time.Duration
	names     nameOptions
	workload  workloadOptions
	pressure  pressureOptions
}

func newProxyCommand() *cobra.Command {
	var o proxyOptions
	c := &cobra.Command{
		Use:   "proxy",
		Short: "Run the proxy that redirected connections go to",
		Long: `proxy receives the connections that rules redirect to its port and sends them
where the resources in the directory say. It programs no rules and needs no root.

With --dns-listen it also answers the DNS that rules with dnsCapture bring to it:
registered names by what the resources say, each host without addresses by a virtual
one of its own, so that several databases on one port are told apart; all other names
by asking the resolvers in /etc/resolv.conf.

A change in the directory is in force within a second; a file with an error keeps
its last good content. The first SIGTERM, SIGINT or SIGHUP stops it gracefully, the second
at once. SIGUSR1 opens the access log anew; one that was moved away is also noticed.`,
		Example: "  sluice proxy --config /etc/sluice --access-log /var/log/sluice/access.log",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return runProxy(c, o) },
	}
	addPolicyFlag(c)
	f := c.Flags()
	f.StringVar(&o.listen, "listen", "15001", "TCP `PORT` to listen on, IPv4 and IPv6; 0 is any free one")
	o.workload.add(c)
	dnsListenFlags(c)
	credentialsFlag(c)
	f.StringVar(&o.mark, "mark", "", "packet `MARK` of upstream connections, for rules that exempt the proxy by mark (needs CAP_NET_ADMIN)")
	f.StringVar(&o.accessLog, "access-log", "-", "where a line per request goes: a `FILE`, - for standard output, or off")
	f.StringVar(&o.logFormat, "access-log-format", "json", accessLogFormatFlag)
	serveAdminFlag(c)
	f.StringVar(&o.metrics, "metrics-listen", defaultMetrics, metricsFlag)
	o.names.flags(c, false)
	f.DurationVar(&o.drain, "drain-timeout", 45*time.Second, "how long (`TIME`, such as 30s) requests under way may take after the first SIGTERM")
	o.pressure.flags(f)
	return c
}

func runProxy(c *cobra.Command, o proxyOptions) error {
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	mark, flagErr := o.packetMark()
	port, portErr := parseListen(o.listen)
	policy, policyErr := outboundPolicy(c)
	workload, workloadErr := o.workload.workload(c)
	format, formatErr := accessLogFormat(o.logFormat)
	names, namesErr := readAnswering(c)
	var drainErr error
	if o.drain < 0 {
		drainErr = fmt.Errorf("--drain-timeout %q: is negative; use 0s or more", o.drain)
	}
	counted := metrics.New(buildVersion())
	cfg := proxy.Config{
		Workload:        workload,
		Mark:            mark,
		AccessLogFormat: format,
		Register:        commandLine(c, "create -f -"),
		RegisterIn:      remedy.Here().Files(configDir(c)),
		DrainTimeout:    o.drain,
	}
	exchange := counted.CountDNS(dns.Through(mark.Dialer()))
	bindErr := errors.Join(o.names.apply(&cfg, exchange), o.names.given(c))
	pressureErr := errors.Join(o.pressure.apply(&cfg)...)
	if err := errors.Join(portErr, flagErr, policyErr, workloadErr, formatErr, checkMetricsAddress(o.metrics), drainErr, bindErr, namesErr, pressureErr); err != nil {
		return usage(err, "see 'sluice proxy --help'")
	}
	credentials, err := credentialStore(c, log)
	if err != nil {
		return err
	}
	addresses, err := openLedger(names.stateDir, names.listen.on, log)
	if err != nil {
		return err
	}
	defer addresses.Close()
	store, err := openStore(c, file.Options{Options: virtual(addresses, mesh.Options{Policy: policy}), Log: log})
	if err != nil {
		return err
	}
	access, closeAccess, err := openOutput("access-log", o.accessLog, c.OutOrStdout())
	if err != nil {
		return err
	}
	defer closeAccess()
	defer reopenOnSignal(access, log)()
	endpoint, err := listenMetrics(c, o.metrics, log)
	if err != nil {
		return err
	}
	asked, err := listenAdmin(c, "proxy", log)
	if err != nil {
		return err
	}
	if asked != nil {
		defer asked.Close()
	}
	listeners, err := listenBoth(port, log)
	if err != nil {
		return err
	}
	observer := counted.Workload(workload)
	names.config.ResolvConf, names.config.Observe = o.names.resolvConf, observer.ObserveDNS
	answers, err := names.open(workload, exchange, log)
	if err != nil {
		return err
	}
	countStore(counted, store)
	cfg.Listeners, cfg.AccessLog, cfg.Log, cfg.Observer = listeners, access, log, observer
	cfg.Credentials = credentials
	server, err := newEgress(store, cfg, answers)
	if err != nil {
		return err
	}
	observer.Watch(server)
	log.Info("ready")
	serve := withMetrics(endpoint, metrics.Endpoint{Metrics: counted, Ready: server.Ready, Log: log}, server.Serve)
	serve = withAdmin(asked, server, "proxy", log, serve)
	tasks := []func(context.Context) error{store.Run, serve}
	if answers != nil {
		tasks = append(tasks, answers.Serve)
	}
	return untilSecondSignal(c.Context(), log, func(ctx context.Context) error { return together(ctx, tasks...) })
}

// packetMark is the mark of what leaves the proxy, 0 if none was asked for.
func (o proxyOptions) packetMark() (proxy.Mark, error) {
	if o.mark == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(o.mark, 0, 32)
	mark := proxy.Mark(n)
	if err != nil || mark == 0 {
		return 0, fmt.Errorf("--mark %q: not a packet mark; use 1 to 4294967295, or hexadecimal such as 0x539", o.mark)
	}
	if err := mark.Try(); err != nil {
		return 0, fmt.Errorf("--mark %q: %w; give the proxy CAP_NET_ADMIN, or exempt it by uid instead", o.mark, err)
	}
	return mark, nil
}

func parseListen(text string) (int, error) {
	n, err := parsePort(text)
	if err != nil {
		return 0, fmt.Errorf("--listen %q: not a port; use 1 to 65535, or 0 for any free one", text)
	}
	return n, nil
}

func parsePort(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err
}

// listenBoth listens on a port in both families. A family that the machine does
// not have is left out, and said.
func listenBoth(port int, log *slog.Logger) ([]*net.TCPListener, error) {
	var listeners []*net.TCPListener
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := proxy.Listen(network, net.JoinHostPort("", strconv.Itoa(port)))
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			log.Warn("this machine lacks an address family; listening on the other", "missing", network)
			continue
		}
		if err != nil {
			for _, other := range listeners {
				other.Close()
			}
			return nil, hinted(fmt.Errorf("listen on port %d: %w", port, err), "--listen names another port; the rules must redirect to the same")
		}
		port = l.Addr().(*net.TCPAddr).Port
		listeners = append(listeners, l)
		log.Info("listening", "address", l.Addr())
	}
	if len(listeners) == 0 {
		return nil, fmt.Errorf("listen on port %d: this machine has neither IPv4 nor IPv6", port)
	}
	return listeners, nil
}
