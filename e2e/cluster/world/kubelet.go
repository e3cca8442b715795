package world

import (
	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
)

// dnsAddress is the cluster's DNS, the tenth of the Services' addresses as everywhere.
const dnsAddress = "10.96.0.10"

// kubeletConfig is what a kubelet needs to run in a world without its own cgroup
// controllers and with the machine's memory: cgroups of version 1 (failCgroupV1), no
// score that takes CAP_SYS_RESOURCE to lower, no eviction for what other programs of the
// machine use. %[1]s is the runtime's socket, %[2]s the place of all cgroups, %[3]s a
// folder of the node.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s
cgroupDriver: cgroupfs
cgroupRoot: %[2]s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
enforceNodeAllocatable: []
evictionHard: {memory.available: 50Mi, nodefs.available: 0%%, nodefs.inodesFree: 0%%, imagefs.available: 0%%, imagefs.inodesFree: 0%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: [` + dnsAddress + `]
clusterDomain: cluster.local
resolvConf: %[3]s/resolv.conf
volumePluginDir: %[3]s/volume-plugins
staticPodPath: %[3]s/manifests
nodeStatusUpdateFrequency: 2s
syncFrequency: 5s
registerNode: true
podLogsDir: /var/log/pods
maxPods: 250
`

// proxyConfig leaves connection tracking alone: its limits are the machine's. %[1]s is
// the mode, %[2]s a kubeconfig.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %[1]s
clusterCIDR: ` + Pods + `
hostnameOverride: ` + NodeName + `
clientConnection: {kubeconfig: %[2]s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// Users of the cluster's own programs.
const (
	userManager   = "system:kube-controller-manager"
	userScheduler = "system:kube-scheduler"
	userProxy     = "system:kube-proxy"
	userNode      = "system:node:" + NodeName
)

var serverFlags = []string{
	"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
	// Without it `kubectl logs` looks node1 up by DNS.
	"--kubelet-preferred-address-types=InternalIP",
}

// managerFlags: the default rate of calls delays a namespace's first service account by
// four seconds.
func managerFlags(s *apiserver.Server) []string {
	return []string{
		"--kubeconfig=" + s.KubeconfigOf(userManager), "--use-service-account-credentials",
		"--service-account-private-key-file=" + s.PrivateKeyFile(), "--root-ca-file=" + s.CAFile(),
		"--leader-elect=false", "--secure-port=0", "--kube-api-qps=300", "--kube-api-burst=600",
		"--controllers=*", "--allocate-node-cidrs=true", "--cluster-cidr=" + Pods,
	}
}
