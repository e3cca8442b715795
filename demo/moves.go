package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/nftables"

	"github.com/sluice-cni/sluice/rules/nft"
)

// The kinds of step that the story is made of.

// attachStep is `kubectl apply` of a pod: DEL of the old one, ADD of the new.
func (w *world) attachStep(section, title, ranges, note string) step {
	conf, _ := json.Marshal(map[string]string{"type": "sluice-cni", "includeIPRanges": ranges})
	flag := " --includeIPRanges=" + ranges
	if ranges == everyRange {
		flag = ""
	}
	s := step{
		section: section, title: title,
		notes: []string{
			"page        kubectl apply -f <(istioctl kube-inject -f samples/sleep/sleep.yaml" + flag + ")",
			fmt.Sprintf("annotation  traffic.sidecar.istio.io/includeOutboundIPRanges: %q", ranges),
			"conf        " + string(conf),
			"runtime     ADD: ptp ▸ host-local ▸ sluice-cni, then CHECK",
		},
		expect: "the pod has an address, its rules and a proxy",
		do:     func(ctx context.Context) happened { return w.replacePod(ctx, ranges) },
	}
	if note != "" {
		s.notes = append(s.notes, "note        "+note)
	}
	return s
}

func (w *world) replacePod(ctx context.Context, ranges string) happened {
	if err := w.removePod(ctx); err != nil {
		return broken(err)
	}
	if err := w.attachPod(ctx, ranges); err != nil {
		return broken(err)
	}
	tables, err := ruleTables(w.pod.namespace.FD())
	if err != nil {
		return broken(err)
	}
	lines := append(w.pod.notices(), fmt.Sprintf("address %s, %s, the proxy listens", w.pod.address, describe(tables)))
	return as(len(tables) > 0, lines...)
}

// removeStep is `kubectl delete` of the pod.
func (w *world) removeStep() step {
	return step{
		title:  "shut the sleep service down",
		notes:  []string{"page        kubectl delete -f samples/sleep/sleep.yaml", "runtime     DEL: sluice-cni ▸ ptp ▸ host-local"},
		expect: "no rule is left",
		do: func(ctx context.Context) happened {
			if err := w.detachPod(ctx); err != nil {
				return broken(err)
			}
			inPod, err := ruleTables(w.pod.namespace.FD())
			if err != nil {
				return broken(err)
			}
			onNode, err := ruleTables(w.node.FD())
			if err != nil {
				return broken(err)
			}
			h := as(len(inPod)+len(onNode) == 0, "in the pod: "+describe(inPod), "on the node: "+describe(onNode))
			if err := w.removePod(ctx); err != nil {
				return broken(err)
			}
			return h
		},
	}
}

// ruleTables lists every nftables table of a namespace.
func ruleTables(netnsFD int) ([]string, error) {
	c, err := nft.Connect(netnsFD)
	if err != nil {
		return nil, err
	}
	defer c.CloseLasting()
	tables, err := c.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list the rules: %w", err)
	}
	var names []string
	for _, t := range tables {
		names = append(names, strings.TrimSpace(families[t.Family]+" "+t.Name))
	}
	return names, nil
}

// families are nft's names of those that the plugin uses.
var families = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyNetdev: "netdev",
	nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
}

func describe(tables []string) string {
	if len(tables) == 0 {
		return "no rules"
	}
	return "rules in nftables: " + strings.Join(tables, ", ")
}

// create types the YAML and waits until the proxy follows it.
func (w *world) create(section, title, yaml string) step {
	line := "cat <<EOF | sluice create -f -\n" + yaml + "EOF"
	return step{
		section: section, title: title, where: onNode, typed: line,
		expect: "created, and in force in the proxy within 1 s",
		do:     w.changes(line, strings.Count(yaml, "kind: ")),
	}
}

// delete types a removal: a kind, then names.
func (w *world) delete(title, objects string) step {
	line := "sluice delete " + objects
	return step{
		title: title, where: onNode, typed: line,
		expect: "deleted, and no longer in force in the proxy within 1 s",
		do:     w.changes(line, 1-len(strings.Fields(objects))),
	}
}

// inForceWithin is how soon a change must be in force.
const inForceWithin = time.Second

// changes types a line that adds so many objects, or removes them.
func (w *world) changes(line string, objects int) func(context.Context) happened {
	return func(ctx context.Context) happened {
		before := w.pod.proxy.mark()
		o, err := w.typed(ctx, onNode, line)
		if err != nil {
			return broken(err)
		}
		if o.exitCode != 0 {
			return as(false, o.lines()...)
		}
		written := time.Now()
		w.objects += objects
		if err := w.pod.proxy.waitFor(ctx, fmt.Sprintf(saysInForce, w.objects), before); err != nil {
			return as(false, append(o.lines(), err.Error())...)
		}
		took := time.Since(written)
		lines := append(o.lines(), fmt.Sprintf("in force after %d ms", took.Milliseconds()))
		return as(took <= inForceWithin, lines...)
	}
}

// run types a line and judges its outcome.
func (w *world) run(where place, line string, good func(outcome) bool) func(context.Context) happened {
	return func(ctx context.Context) happened {
		o, err := w.typed(ctx, where, line)
		if err != nil {
			return broken(err)
		}
		return as(good(o), o.lines()...)
	}
}

// expectRefusal types a request that must not get out. status is what it prints,
// "" for one that must fail instead.
func (w *world) expectRefusal(line, status string) func(context.Context) happened {
	return func(ctx context.Context) happened {
		o, err := w.typed(ctx, inPod, line)
		if err != nil {
			return broken(err)
		}
		answered := strings.TrimSpace(o.output) == status && o.exitCode == 0
		if status == "" {
			answered = o.exitCode != 0
		}
		evidence := "no server was reached"
		if len(o.arrived) > 0 {
			evidence = "reached: " + o.arrived[0].server
		}
		return as(answered && len(o.arrived) == 0, append(o.lines(), evidence)...)
	}
}

// timed types a request that must print a status after about so many seconds.
func (w *world) timed(line, status string, seconds float64) func(context.Context) happened {
	// How far off a busy machine may be: 3 s stay clear of 5 s all the same.
	early, late := 0.1, 0.6*seconds
	return func(ctx context.Context) happened {
		o, err := w.typed(ctx, inPod, line)
		if err != nil {
			return broken(err)
		}
		took := o.took.Seconds()
		ok := strings.TrimSpace(o.output) == status && took >= seconds-early && took <= seconds+late
		return as(ok, append(o.lines(), o.real())...)
	}
}

func reached(arrived []arrival, server string) bool {
	for _, a := range arrived {
		if a.server == server {
			return true
		}
	}
	return false
}
