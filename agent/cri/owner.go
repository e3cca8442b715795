package cri

import "strings"

// owner is what a pod belongs to, as far as its name and labels tell: CRI knows no
// owners. The names and labels are those that Kubernetes' controllers give: a
// Deployment's pods are NAME-HASH-XXXXX with label pod-template-hash=HASH, a
// DaemonSet's NAME-XXXXX and a StatefulSet's NAME-ORDINAL with label
// controller-revision-hash, a Job's have label job-name. Otherwise the pod's own name.
func owner(pod string, labels map[string]string) string {
	for _, label := range []string{"batch.kubernetes.io/job-name", "job-name"} {
		if job := labels[label]; job != "" {
			return job
		}
	}
	if hash := labels["pod-template-hash"]; hash != "" {
		if i := strings.LastIndex(pod, "-"+hash+"-"); i > 0 {
			return pod[:i]
		}
	}
	if labels["controller-revision-hash"] != "" {
		if i := strings.LastIndexByte(pod, '-'); i > 0 {
			return pod[:i]
		}
	}
	return pod
}
