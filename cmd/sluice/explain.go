package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/explain"
)

type explainOptions struct {
	inquiry admin.Inquiry
	running bool
	lookup  bool
	labels  workloadOptions

	netns, protocol string
	uid, gid        uint32
	mark, cgroup    string
	sport           uint16
	icmpType        uint8
	in, out         string
	output          format
}

func newExplainCommand() *cobra.Command {
	var o explainOptions
	config := &rulesConfig{}
	c := &cobra.Command{
		Use:   "explain --url URL | --dst ADDRESS:PORT [flags]",
		Short: "Say what becomes of a request or a connection, and why",
		Long: `explain says what would become of a request (--url) or a connection (--dst): whether
the pod's rules bring it to the proxy, which ServiceEntry, VirtualService and rule it
falls under, and where it goes from there, with the TLS settings, time limits and
endpoints, each with the file and line it is written in. Nothing is sent, and no name is
looked up without --lookup. It is found by the very code that serves connections.

The resources are those of the configuration (below), seen by a workload of --namespace
with --labels under --outbound-policy, which in a cluster its Namespace and ConfigMap
sluice-policy say where the flag is not given; of the nodes nothing is asked. With
--running, or --admin, a running proxy is asked instead: what it has in force, as its own
workload sees it, with the addresses that it knows. With --pod the node's agent is asked
about the proxy of that pod.

With --netns or --rules the pod's rules answer first, by the line of the precedence list
that decides (docs/configuration.md), and with --netns also by what the kernel has: its
rules are read back and the packet is walked through them. The two must agree; where they
do not, explain says so and what was changed. The configuration is the one kept with the
namespace's rules, or that of --rules. The outgoing interface is the one that the
namespace's routes choose, unless --out-if names it; --in-if is for what arrives from
outside. What the rules bring to the proxy is then followed through the resources, where
there are any.

The exit code is 0 when it is allowed, on its way past the proxy too, and 1 when it is
refused or the answers disagree.` + keeperLong,
		Example: `  sluice explain --url https://api.example.com/v1/x
  sluice explain --url http://api.example.com/v1/x -X POST -H 'x-user: jo' --config ./egress
  sluice explain -n shop --url http://api.example.com/ --context staging
  sluice explain --dst 192.0.2.7:5432 --running
  sluice explain --dst 192.0.2.7:443 --sni api.example.com -o json
  sluice explain --netns web --dst 10.96.0.10:443
  sluice explain --netns /proc/4242/ns/net --dst '[2001:db8::1]:443' --proto udp --uid 1000
  sluice explain --rules rules.json --dst 192.0.2.7:22 -o json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runExplain(c, o, config) },
	}
	askAdminFlag(c)
	addPolicyFlag(c)
	keeperFlags(c)
	domainFlag(c.Flags(), new(domainValue))
	namespaceFlag(c, "`NAMESPACE` of the workload, which decides what resources it follows (default \"default\", in a cluster the context's)")
	f := c.Flags()
	f.StringVar(&o.labels.labels, "labels", "", "the workload's labels, a `LIST` such as app=shop,version=v1")
	f.StringVar(&o.inquiry.URL, "url", "", "the `URL` that an application asks for, http or https")
	f.StringVarP(&o.inquiry.Method, "method", "X", "", "the request's `METHOD` (default GET)")
	f.StringArrayVarP(&o.inquiry.Headers, "header", "H", nil, "a `HEADER` of the request, 'name: value'; may be given several times")
	f.StringVar(&o.inquiry.Dst, "dst", "", "where the connection goes to: `ADDRESS:PORT`; beside --url the address that the application has for the name")
	f.StringVar(&o.inquiry.SNI, "sni", "", "the server `NAME` of a connection that is TLS")
	f.BoolVar(&o.running, "running", false, "ask the proxy that is running, as 'sluice clusters' does")
	f.BoolVar(&o.lookup, "lookup", false, "look the names up that the answer depends on, in this machine's hosts file and DNS")
	f.StringVar(&o.netns, "netns", "", "the namespace: a `PATH`, or a name of 'ip netns'")
	f.StringVar(&config.file, "rules", "", "JSON `FILE` with the fields of the CNI configuration, or - for standard input")
	f.StringVar(&config.rangesFile, "ranges-file", "", "what includeIPRanges auto stands for in --rules (`FILE`)")
	f.StringVar(&o.protocol, "proto", "tcp", "tcp, udp, icmp, sctp, igmp or a protocol's number")
	f.Uint32Var(&o.uid, "uid", 0, "user of the process")
	f.Uint32Var(&o.gid, "gid", 0, "group of the process")
	f.StringVar(&o.mark, "mark", "0", "mark of the packet")
	f.StringVar(&o.cgroup, "cgroup", "", "cgroup of the process, a version 2 `PATH`")
	f.Uint16Var(&o.sport, "sport", 0, "source port")
	f.Uint8Var(&o.icmpType, "icmp-type", 0, "type of the ICMP message (default an echo request)")
	f.StringVar(&o.in, "in-if", "", "the `INTERFACE` that it arrives by")
	f.StringVar(&o.in, "src-if", "", "the same as --in-if")
	f.StringVar(&o.out, "out-if", "", "the `INTERFACE` that it leaves by; lo for what stays")
	o.output = formatFlag(c, "text", "json")
	return c
}

func runExplain(c *cobra.Command, o explainOptions, config *rulesConfig) error {
	byRules := o.netns != "" || config.file != ""
	errs := []error{o.output.check()}
	ask, err := o.egress(c)
	errs = append(errs, err)
	flow, err := o.flow(byRules)
	errs = append(errs, err)
	if err == nil && !byRules && flow.Protocol != rules.TCP {
		errs = append(errs, fmt.Errorf("--proto %q: only the rules have a say about it; --netns or --rules names them", o.protocol))
	}
	if err := errors.Join(errs...); err != nil {
		return usage(err, "see 'sluice explain --help'")
	}
	var all explained
	if byRules {
		if all.rules, err = explainRules(c, flow, o.netns, config); err != nil {
			return err
		}
	}
	if all.reachesProxy() && flow.Protocol == rules.TCP {
		if all.egress, err = ask(); err != nil {
			return err
		}
	}
	if o.output.is("json") {
		err = writeJSON(c.OutOrStdout(), all.report())
	} else {
		err = all.print(c)
	}
	if err == nil && !all.allowed() {
		return exitCode(1)
	}
	return err
}

// explainRules has the rules answer, and with a namespace the kernel too.
func explainRules(c *cobra.Command, flow rules.Flow, netns string, config *rulesConfig) (*explain.Answer, error) {
	var wanted *rules.Config
	if config.file != "" {
		read, err := config.read(c)
		if err != nil {
			return nil, err
		}
		wanted = &read
	}
	if netns == "" {
		return explain.ByConfiguration(flow, *wanted, config.file), nil
	}
	ns, err := openNetns(netns)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return explain.InNamespace(ns, flow, wanted, config.file)
}

var protocols = map[string]rules.Protocol{"tcp": rules.TCP, "udp": rules.UDP, "icmp": rules.ICMP, "icmpv6": rules.ICMPv6, "sctp": rules.SCTP, "igmp": rules.IGMP}

// flow is what the flags describe, with every mistake at once. Without rules only its
// protocol is of interest.
func (o explainOptions) flow(byRules bool) (rules.Flow, error) {
	f := rules.Flow{UID: o.uid, GID: o.gid, Cgroup: o.cgroup, SrcPort: o.sport, ICMPType: o.icmpType, InInterface: o.in, OutInterface: o.out}
	var errs []error
	var known bool
	if f.Protocol, known = protocols[strings.ToLower(o.protocol)]; !known {
		n, err := strconv.ParseUint(o.protocol, 10, 8)
		if err != nil {
			errs = append(errs, fmt.Errorf("--proto %q: not a protocol; use tcp, udp, icmp, sctp, igmp or a number up to 255", o.protocol))
		}
		f.Protocol = rules.Protocol(n)
	}
	mark, err := strconv.ParseUint(o.mark, 0, 32)
	if err != nil {
		errs = append(errs, fmt.Errorf("--mark %q: not a packet mark; use a number, or hexadecimal such as 0x539", o.mark))
	}
	f.Mark = uint32(mark)
	if byRules {
		errs = append(errs, o.destination(&f))
	}
	if f.Protocol == rules.ICMP && f.Dst.Is6() {
		f.Protocol = rules.ICMPv6
	}
	if echo := map[rules.Protocol]uint8{rules.ICMP: 8, rules.ICMPv6: 128}[f.Protocol]; o.icmpType == 0 {
		f.ICMPType = echo
	}
	return f, errors.Join(errs...)
}

// destination is an address: rules know no names.
func (o explainOptions) destination(f *rules.Flow) error {
	if o.inquiry.URL != "" {
		q, err := o.inquiry.Read()
		if err == nil && !q.Dst.Addr().IsValid() {
			err = errors.New("flag --dst: is missing; rules go by the address, and names are not looked up: give the one that the application has for the name")
		}
		f.Dst, f.DstPort = q.Dst.Addr(), q.Dst.Port()
		return err
	}
	if o.inquiry.Dst == "" {
		return errors.New("flag --dst: is missing; give an address and a port, such as 1.2.3.4:443")
	}
	if to, err := netip.ParseAddrPort(o.inquiry.Dst); err == nil {
		f.Dst, f.DstPort = to.Addr().Unmap().WithZone(""), to.Port()
		return nil
	}
	addr, err := netip.ParseAddr(strings.Trim(o.inquiry.Dst, "[]"))
	if err != nil {
		return fmt.Errorf("--dst %q: not an address and port; write 1.2.3.4:443 or [2001:db8::1]:443 (names are not looked up)", o.inquiry.Dst)
	}
	if f.Protocol == rules.TCP || f.Protocol == rules.UDP {
		return fmt.Errorf("--dst %q: has no port; write %s", o.inquiry.Dst, netip.AddrPortFrom(addr, 443))
	}
	f.Dst = addr.Unmap().WithZone("")
	return nil
}
