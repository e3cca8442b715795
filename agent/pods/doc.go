// Package pods is the agent's hands: what agent/core decides is done here, to sockets,
// namespaces and the kernel's rules, one method of Kernel for each of its actions. It
// decides nothing.
package pods
