// Package world is a cluster of one node for tests: real kube-apiserver, controller
// manager, scheduler, kubelet, kube-proxy, CoreDNS and containerd, in namespaces of their
// own. Nothing of the machine is touched but the cgroup hierarchies, in which there is a
// place for each run.
//
//	func TestMain(m *testing.M) { os.Exit(world.Main(m)) }
//
//	w := world.New(t, world.Options{})
//	w.Kubectl("get", "nodes")
//
// The node is node1, 172.30.0.2. Its default route leads to an internet that is a
// namespace too, with the names that a test gives it; the cluster's DNS asks there for
// what is not the cluster's. Images lie on the node: nothing is pulled.
package world
