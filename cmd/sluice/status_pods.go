package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

func printPodTable(w io.Writer, pods []agent.PodStatus) error {
	if len(pods) == 0 {
		return nil
	}
	shared := sharedWarnings(pods)
	rows := [][]string{{"POD", "STATE", "POLICY", "RANGES", "CONNECTIONS", "SERVED FOR", "REASON"}}
	for _, p := range pods {
		rows = append(rows, []string{podLabel(p.Name, p.Netns), p.State, p.Policy, rangesCount(p), connectionsText(p), served(p), reasonAndWarnings(p, shared)})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	return printShared(w, shared)
}

// sharedWarnings are those that several pods have, with how many do: in each pod's row
// they would hide what is the matter with one.
func sharedWarnings(pods []agent.PodStatus) map[string]int {
	out := map[string]int{}
	for _, p := range pods {
		for _, text := range p.Warnings {
			out[text]++
		}
	}
	maps.DeleteFunc(out, func(_ string, pods int) bool { return pods < 2 })
	return out
}

func printShared(w io.Writer, shared map[string]int) error {
	for i, text := range slices.Sorted(maps.Keys(shared)) {
		if i == 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "warning, %s: %s\n", count(shared[text], "pod"), printableUpTo(text, maxFact)); err != nil {
			return err
		}
	}
	return nil
}

// podLabel is the pod's name, or what it can be asked by without one.
func podLabel(name wire.PodName, netns string) string {
	if name.Name == "" {
		return "netns " + netns
	}
	return name.String()
}

func rangesCount(p agent.PodStatus) string {
	if len(p.Ranges) == 0 {
		return ""
	}
	text := strconv.Itoa(len(p.Ranges))
	if len(p.Ranges) == 1 {
		text = p.Ranges[0]
	}
	if p.Auto {
		text += " (auto)"
	}
	return text
}

func connectionsText(p agent.PodStatus) string {
	text := strconv.Itoa(p.Connections)
	if p.Draining > 0 {
		text += ", older ones drain"
	}
	return text
}

func served(p agent.PodStatus) string {
	if p.Since == nil {
		return ""
	}
	return age(time.Since(*p.Since))
}

// age is a duration in one unit.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

func reasonAndWarnings(p agent.PodStatus, shared map[string]int) string {
	text := p.Reason
	if text == "" && p.State == string(core.PodUntouched) {
		text = p.Decided // why it is left alone, by a sidecar for instance
	}
	own := slices.DeleteFunc(slices.Clone(p.Warnings), func(text string) bool { return shared[text] > 0 })
	if n := len(own); n > 0 {
		if text != "" {
			text += "; "
		}
		text += "warning: " + own[0]
		if n > 1 {
			text += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	return text
}

// printPods shows everything about pods, one after the other.
func printPods(w io.Writer, pods []agent.PodStatus) error {
	for i, p := range pods {
		if i > 0 {
			fmt.Fprintln(w)
		}
		state := p.State
		if p.Reason != "" {
			state += ": " + p.Reason
		}
		pairs := [][2]string{
			{"pod", podLabel(p.Name, p.Netns)}, {"uid", p.Name.UID}, {"state", state}, {"decided by", p.Decided},
			{"rules", strings.TrimSpace(p.Rules + " " + p.Hash)}, {"failure policy", p.Policy}, {"ranges", rangesCount(p)},
		}
		if len(p.Ranges) > 1 {
			for _, r := range p.Ranges {
				pairs = append(pairs, [2]string{"", r})
			}
		}
		pairs = append(pairs, [][2]string{
			{"exemption", p.Exemption}, {"connections", connectionsText(p)}, {"served for", served(p)},
			{"namespace", p.Netns + " " + p.Path}, {"container", p.Container},
		}...)
		if p.Outbound != "" {
			pairs = append(pairs, [2]string{"outboundPolicy", p.Outbound + ", whatever resources say"})
		}
		if p.DNS {
			pairs = append(pairs, [2]string{"DNS", "captured"})
		}
		for _, name := range slices.Sorted(maps.Keys(p.Settings)) {
			pairs = append(pairs, [2]string{name, cmp.Or(p.Settings[name], `""`)})
		}
		if p.Drifts > 0 {
			pairs = append(pairs, [2]string{"rules changed", count(p.Drifts, "time") + " by somebody else, and put right"})
		}
		for _, text := range p.Warnings {
			pairs = append(pairs, [2]string{"warning", text})
		}
		if err := facts(w, pairs...); err != nil {
			return err
		}
	}
	return nil
}
