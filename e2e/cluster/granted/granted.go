// Package granted is what the chart's capabilities are held to: which of them a scenario in
// e2e/cluster shows to be needed, and why the chart has the others.
package granted

// Proven are those without which the kernel refuses something in a scenario, by container.
var Proven = map[string][]string{
	"agent":     {"NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"},
	"installer": {"DAC_OVERRIDE", "CHOWN"},
	"holder":    {"NET_ADMIN"},
	"uninstall": {"DAC_OVERRIDE", "CHOWN", "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"},
}

// Unproven are those that nothing misses on the scenarios' node, and what they are for on
// others, by container and capability.
var Unproven = map[string]map[string]string{
	"agent": {
		"DAC_OVERRIDE": "a runtime's socket, or files below /run, of others than root",
		"SYS_CHROOT":   hostIptables,
		"NET_RAW":      hostIptables,
	},
	"holder": {
		"SYS_ADMIN":    "enters a pod's namespace to open sockets anew that were lost with a holder",
		"DAC_OVERRIDE": "files below /run of others than root",
	},
	"uninstall": {
		"SYS_CHROOT": hostIptables,
		"NET_RAW":    hostIptables,
	},
}

// hostIptables is used where the value iptables is true.
const hostIptables = "the node's iptables, where the kernel has no nf_tables"
