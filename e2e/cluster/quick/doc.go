// Package quick is the quick tier of a cluster: a real etcd and a real kube-apiserver on
// loopback, with ports of their own, ready in three to five seconds. Nothing runs pods
// there, and no controller makes anything of anything; objects are validated, stored,
// listed and watched, and RBAC and admission policies decide as in any cluster.
//
//	s := quick.New(t)
//	s.Apply(manifest)
//	kubeapi.Connect(s.Kubeconfig(), "")
//
// It takes about 330 MB of memory, so a package has one, with subtests in it.
package quick
