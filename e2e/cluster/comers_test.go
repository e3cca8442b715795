package cluster_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// comer is the container of a pod whose first packet of all goes where it may not. Once
// that was refused it says that it is there, and under which number: another one each time
// that it is started.
const comer = `{name: comer, image: ` + world.App + `, imagePullPolicy: Never, command: [bash, -c, ` +
	`"until [ $(curl -s -m 40 -o /dev/null -w '%{http_code}' http://forbidden.example/) = 502 ]; do :; done; n=$RANDOM$RANDOM; until curl -sf -m 40 http://first.example/$HOSTNAME/$n; do :; done; sleep infinity"]}`

// comers are a Deployment of such pods.
const comersDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: comers, namespace: load}
spec:
  replicas: %d
  selector: {matchLabels: {app: comers}}
  template:
    metadata: {labels: {app: comers}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [%s]
`

// staticComer is one that a kubelet runs by itself.
const staticComer = `apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: load}
spec:
  terminationGracePeriodSeconds: 0
  containers: [%s]
`

// comers has a number of them come, and waits until all are governed.
func (l *underLoad) comers(pods int) {
	l.t.Helper()
	l.apply(fmt.Sprintf(comersDeployment, pods, comer))
	l.Rollout("load", "deployment/comers")
	for pod := range l.running("comers-") {
		l.awaitStart(pod, 0)
	}
}

// came is where comers say so.
func (l *underLoad) came(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if l.first[host] == nil {
		l.first[host] = map[string]bool{}
	}
	l.first[host][number] = true
}

// starts is how often a comer was started, and governed then.
func (l *underLoad) starts(host string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.first[host])
}

// awaitStart waits until a comer has been started more often than that.
func (l *underLoad) awaitStart(host string, before int) {
	l.t.Helper()
	l.Eventually(host+" is governed", func() error {
		if l.starts(host) <= before {
			return fmt.Errorf("started %d times", before)
		}
		return nil
	})
}

// running are the pods of the load whose name begins so, each with its sandbox.
func (l *underLoad) running(prefix string) map[string]string {
	l.t.Helper()
	ids := map[string]string{}
	for _, p := range l.Pods("load") {
		if strings.HasPrefix(p.Pod.Name, prefix) {
			ids[p.Pod.Name] = p.ID
		}
	}
	return ids
}
