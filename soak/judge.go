package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// exchange is one request or connection of a client.
type exchange struct {
	service    service
	what       string
	id         string // what the access log knows it by: x-request-id, or a destination of its own
	web        bool
	idempotent bool
	due        time.Time
	began      time.Time
	ended      time.Time
}

func (e exchange) end() exchange {
	e.ended = time.Now()
	return e
}

// tally counts what was done to the proxy.
type tally struct {
	changes, rotations, kills, stops, unsent, messages atomic.Int64
}

// score is what became of a service's exchanges.
type score struct{ right, refused, lost, failed int }

// judge collects verdicts. A suspect is an exchange that went wrong and may have
// been lost with its server; the access log tells which server had it.
type judge struct {
	fleet *fleet
	log   *accessLog
	tally *tally

	mu       sync.Mutex
	scores   map[string]*score
	failures []string
	suspects []suspect
	latency  histogram
}

type suspect struct {
	exchange
	why string
}

func newJudge(f *fleet, log *accessLog, t *tally) *judge {
	j := &judge{fleet: f, log: log, tally: t, scores: map[string]*score{}}
	for _, s := range append(services[:len(services):len(services)], stranger) {
		j.scores[s.name] = &score{}
	}
	return j
}

// forget drops what was counted so far: the measurement of the saturation.
func (j *judge) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.scores {
		s.right, s.refused = 0, 0
	}
	j.latency = histogram{}
}

func (j *judge) right(e exchange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.scores[e.service.name].right++
	if e.what != "long stream" {
		j.latency.add(e.ended.Sub(e.due))
	}
}

func (j *judge) refused(e exchange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.scores[e.service.name].refused++
}

func (j *judge) lost(e exchange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.scores[e.service.name].lost++
}

// told bounds the failures that are told one by one.
const told = 40

func (j *judge) failed(e exchange, why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail(e, why)
}

func (j *judge) fail(e exchange, why string) {
	j.scores[e.service.name].failed++
	if len(j.failures) < told {
		j.failures = append(j.failures, fmt.Sprintf("%s %s: %s, %s (%s, took %s)", e.ended.UTC().Format("15:04:05.000"), e.service.name,
			e.what, why, e.id, e.ended.Sub(e.began).Round(time.Millisecond)))
	}
}

func (j *judge) message() { j.tally.messages.Add(1) }

func (j *judge) suspect(e exchange, why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.suspects = append(j.suspects, suspect{e, why})
}

// lineWithin is how long after an exchange its line in the access log may come.
const lineWithin = 10 * time.Second

// resolve judges the suspects whose line has come, or should have.
func (j *judge) resolve(now time.Time) (left int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := j.suspects[:0]
	for _, s := range j.suspects {
		line, found := j.log.find(s.exchange)
		switch {
		case found:
			if reason := j.guilty(s, line); reason != "" {
				j.fail(s.exchange, s.why+"; "+reason)
			} else {
				j.scores[s.service.name].lost++
			}
		case now.Sub(s.ended) > lineWithin:
			j.fail(s.exchange, s.why+"; the access log has no line of it")
		default:
			kept = append(kept, s)
		}
	}
	j.suspects = kept
	return len(kept)
}

// guilty says why the death of a server does not excuse a suspect, "" when it does.
func (j *judge) guilty(s suspect, line logLine) string {
	said := fmt.Sprintf("the access log has %s %s at %s", line.Flags, line.Details, line.UpstreamHost)
	server := j.fleet.at(line.upstream().Addr())
	if server == nil || server.service != s.service {
		return said
	}
	if !server.died(s.began, s.ended) {
		return fmt.Sprintf("%s, which lived (%s)", said, server.lastDeath(s.began))
	}
	if !s.web {
		if strings.Contains(line.Flags, "UF") {
			return said
		}
		return ""
	}
	if line.Flags != "UC" {
		return said
	}
	if born := server.bornBefore(line.Start); s.idempotent && line.beforeHeaders() && line.usedBefore.After(born) {
		return said + ", on a connection used before: it should have been sent again"
	}
	return ""
}
