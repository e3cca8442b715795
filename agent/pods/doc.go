// Package pods is the agent's hands: what agent/core decides is done here, to sockets,
// namespaces and the kernel's rules (Host.Perform). It decides nothing.
//
//	Host ┬ sets     the sockets and namespaces that are open, and how to reach a pod
//	     ├ keeper   opens them in running pods, and has the holder keep them
//	     ├ servers  the proxies that serve them, or drain
//	     └ rules.go what the namespaces' rules are, and how they change
package pods
