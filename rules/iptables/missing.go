package iptables

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// feature is a part of the kernel, or of the programs, that may be missing: the
// least rule that needs it.
type feature struct {
	module string
	word   string // rules that need it hold this; "" for all
	table  string
	rule   string
}

// features lists what rules may need, the tables first: with a table missing,
// nothing in it can be tried.
func features(f family) []feature {
	reject := map[bool]string{false: "icmp-port-unreachable", true: "icmp6-port-unreachable"}[f.v6]
	module := map[bool]string{false: "ip", true: "ip6"}[f.v6]
	return []feature{
		{"the filter table (" + module + "table_filter)", "*filter", "filter", "-A OUTPUT -j RETURN"},
		{"the nat table (" + module + "table_nat)", "*nat", "nat", "-A OUTPUT -j RETURN"},
		{"the raw table (" + module + "table_raw)", "*raw", "raw", "-A OUTPUT -j RETURN"},
		{"the mangle table (" + module + "table_mangle)", "*mangle", "mangle", "-A OUTPUT -j RETURN"},
		{"comments (xt_comment)", "-m comment", "filter", "-A OUTPUT -m comment --comment x -j RETURN"},
		{"redirects (xt_REDIRECT)", "-j REDIRECT", "nat", "-A OUTPUT -p tcp -j REDIRECT --to-ports 1"},
		{"connection tracking (xt_conntrack)", "-m conntrack", "filter", "-A OUTPUT -m conntrack --ctstate NEW -j RETURN"},
		{"reject (" + module + "t_REJECT)", "-j REJECT", "filter", "-A OUTPUT -j REJECT --reject-with " + reject},
		{"several ports at once (xt_multiport)", "-m multiport", "filter", "-A OUTPUT -p tcp -m multiport --dports 1,2 -j RETURN"},
		{"users and groups (xt_owner)", "-m owner", "filter", "-A OUTPUT -m owner --uid-owner 0 -j RETURN"},
		{"marks (xt_mark)", "-m mark", "filter", "-A OUTPUT -m mark --mark 0x1 -j RETURN"},
		{"address types (xt_addrtype)", "-m addrtype", "filter", "-A OUTPUT -m addrtype --src-type LOCAL -j RETURN"},
		{"conntrack zones (xt_CT, CONFIG_NF_CONNTRACK_ZONES)", "-j CT", "raw", "-A OUTPUT -p udp -j CT --zone 1"},
		{"cgroups of version 2 by path (xt_cgroup)", "-m cgroup", "filter", "-A OUTPUT -m cgroup --path / -j RETURN"},
	}
}

// Probe programs a namespace made for it with what every plan may need, and names
// what the kernel or the programs lack. nil means that nothing is missing.
func (f *Firewall) Probe() error {
	return oncePerFamily(func(_ int, fam family) error {
		return f.missing(fam, func(feature) bool { return true })
	})
}

// missing tries the features of interest together, and when that fails each alone.
func (f *Firewall) missing(fam family, matters func(feature) bool) error {
	var tried []feature
	var together strings.Builder
	for _, x := range features(fam) {
		if matters(x) {
			tried = append(tried, x)
			fmt.Fprintf(&together, "*%s\n%s\nCOMMIT\n", x.table, x.rule)
		}
	}
	if f.restore(nil, fam, together.String()) == nil {
		return nil
	}
	var errs []error
	for _, x := range tried {
		err := f.restore(nil, fam, fmt.Sprintf("*%s\n%s\nCOMMIT\n", x.table, x.rule))
		if errors.Is(err, rules.ErrNotPermitted) {
			return err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: %s %s is missing (%w)", rules.ErrUnsupported, fam.name, x.module, err))
		}
	}
	return errors.Join(errs...)
}

// diagnose looks behind a batch that was refused.
func (f *Firewall) diagnose(err error, netnsFD int, plan rules.Plan) error {
	if errors.Is(err, rules.ErrNotPermitted) {
		return err
	}
	want, translated := rulesets(plan)
	if translated != nil {
		return err
	}
	reasons := []error{err}
	reasons = append(reasons, oncePerFamily(func(i int, fam family) error {
		text := batch(state{}, want[i])
		return f.missing(fam, func(x feature) bool { return strings.Contains(text, x.word) })
	}))
	if strings.Contains(batch(state{}, want[0]), "-m owner") && otherUserNamespace(netnsFD) {
		reasons = append(reasons, fmt.Errorf("%w: the pod has a user namespace of its own (hostUsers: false), and xt_owner takes ids from inside that only; use the nft backend", rules.ErrUnsupported))
	}
	return errors.Join(append(reasons, absentCgroups(plan))...)
}

// otherUserNamespace reports a network namespace that belongs to another user
// namespace than ours.
func otherUserNamespace(netnsFD int) bool {
	fd, err := unix.IoctlRetInt(netnsFD, unix.NS_GET_USERNS)
	if err != nil {
		return errors.Is(err, unix.EPERM) // it belongs to one above ours
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	theirs, err1 := owner.Stat()
	ours, err2 := os.Stat("/proc/self/ns/user")
	return err1 == nil && err2 == nil && !os.SameFile(theirs, ours)
}

// absentCgroups names the paths without which the kernel refuses a rule: it looks
// each up when it is loaded.
func absentCgroups(plan rules.Plan) error {
	root := cgroupRoot()
	if root == "" {
		return nil
	}
	var errs []error
	for _, path := range plan.Config.ExemptCgroups {
		if _, err := os.Stat(root + path); err != nil {
			errs = append(errs, fmt.Errorf("exemptCgroups %q: not in the cgroup hierarchy at %s; name one that exists", path, root))
		}
	}
	return errors.Join(errs...)
}

// cgroupRoot is where the version 2 hierarchy is mounted, "" for nowhere.
func cgroupRoot() string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		before, after, found := strings.Cut(line, " - ")
		words := strings.Fields(before)
		if found && strings.HasPrefix(after, "cgroup2 ") && len(words) > 4 && words[3] == "/" {
			return words[4]
		}
	}
	return ""
}
