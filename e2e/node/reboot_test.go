package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// After a reboot nothing is left but the disk: pods come before the node's own agent,
// and what must be governed waits for it.
func TestReboot(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{Entry: map[string]any{"timeout": "1s", "excludeNamespaces": "kube-system"}})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	pods := makePods(t, n, 4)
	each(t, pods, 4, (*stage.Pod).Add)
	allGoverned(t, pods)

	n.Agent().Kill()
	n.Holder.Kill()
	for _, p := range pods {
		must(t, p.Vanish())
	}
	must(t, os.RemoveAll(n.RunDir))
	pods = makePods(t, n, 4)
	system := pods[3]
	system.Namespace = "kube-system"
	each(t, pods[:3], 3, func(p *stage.Pod) error { return wantCode(11, p.Add()) })
	must(t, system.Add())
	must(t, system.Do(web, time.Minute)) // direct: nobody else is there

	began := time.Now()
	n.StartHolder()
	each(t, pods[:3], 3, (*stage.Pod).Add)
	n.StartAgent()
	await.True(t, "the pods are enrolled", func() bool { return n.Enrolled() == 3 })
	figure(t, "after a reboot 3 pods are governed", time.Since(began))
	allGoverned(t, pods[:3])
	each(t, pods, 4, (*stage.Pod).Delete)
	n.GivenBack(before)
}

// Everything under /run/sluice is gone but the pods are there: their rules tell who they
// are, and until somebody reads those their connections are refused.
func TestPodsOutliveTheStateUnderRun(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	for _, loss := range []struct {
		name string
		lose func()
	}{
		{"all of it is gone", func() { must(t, os.RemoveAll(n.RunDir)) }},
		{"each pod's file is torn", func() { tear(t, filepath.Join(n.RunDir, "pods")) }},
		{"each pod's file is empty", func() { truncate(t, filepath.Join(n.RunDir, "pods"), 0) }},
	} {
		t.Run(loss.name, func(t *testing.T) {
			pods := makePods(t, n, 3)
			each(t, pods, 3, (*stage.Pod).Add)
			allGoverned(t, pods)
			n.Agent().Kill()
			n.Holder.Kill()
			loss.lose()
			each(t, pods, 3, func(p *stage.Pod) error { return wantRefused(p.Do(web, time.Minute)) })
			began := time.Now()
			n.StartHolder()
			n.StartAgent()
			await.True(t, "the pods are served again", func() bool { return n.Enrolled() == 3 })
			figure(t, "%s: 3 pods are governed again after", time.Since(began), loss.name)
			allGoverned(t, pods)
			each(t, pods, 3, (*stage.Pod).Check)
			each(t, pods, 3, (*stage.Pod).Delete)
			n.GivenBack(before)
		})
	}
}

func tear(t *testing.T, dir string) { t.Helper(); truncate(t, dir, 2) }

// truncate leaves an nth of every file; nothing where n is 0.
func truncate(t *testing.T, dir string, n int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("%s: no files to tear", dir)
	}
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		size := int64(0)
		if n > 0 {
			size = info.Size() / n
		}
		must(t, os.Truncate(filepath.Join(dir, f.Name()), size))
	}
}

// wantCode requires a CNI error of that code.
func wantCode(code int, err error) error {
	var failed *stage.Failure
	if errors.As(err, &failed) && failed.Code == code {
		return nil
	}
	return errors.Join(errors.New("want another CNI error"), err)
}
