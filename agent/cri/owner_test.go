package cri

import "testing"

func TestTheOwnerOfAPod(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, pod, want string
		labels          map[string]string
	}{
		{"a Deployment's", "shop-web-6d4cf56db6-x2x7k", "shop-web", map[string]string{"pod-template-hash": "6d4cf56db6"}},
		{"a ReplicaSet's own hash elsewhere in the name", "6d4cf-6d4cf-x2x7k", "6d4cf", map[string]string{"pod-template-hash": "6d4cf"}},
		{"a DaemonSet's", "node-exporter-k2v8z", "node-exporter", map[string]string{"controller-revision-hash": "5f9"}},
		{"a StatefulSet's", "db-0", "db", map[string]string{"controller-revision-hash": "db-7c", "statefulset.kubernetes.io/pod-name": "db-0"}},
		{"a Job's", "backup-28-abcde", "backup-28", map[string]string{"job-name": "backup-28", "batch.kubernetes.io/job-name": "backup-28"}},
		{"nobody's", "debug-shell", "debug-shell", map[string]string{"app": "x"}},
		{"a hash that is not in the name", "web", "web", map[string]string{"pod-template-hash": "6d4cf"}},
		{"no labels", "web", "web", nil},
	} {
		if got := owner(test.pod, test.labels); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.what, test.pod, got, test.want)
		}
	}
}
