package mesh

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Says are what an action does that was asked for, a line each.
func (a *HTTPAction) Says() []string {
	var out []string
	if a.Timeout > 0 {
		out = append(out, "timeout "+a.Timeout.String())
	}
	if a.Fault != nil {
		out = append(out, a.Fault.says()...)
	}
	if a.Retry != DefaultRetry {
		out = append(out, a.Retry.says())
	}
	if a.Answer != nil {
		out = append(out, a.Answer.says())
	}
	if a.Path != nil {
		out = append(out, a.Path.says())
	}
	if a.Edits != nil {
		out = append(out, a.Edits.says()...)
	}
	return out
}

// holds are what holds for the requests of an action, what nobody asked for too.
func (a *HTTPAction) holds() []string {
	out := a.Says()
	if a.Answer != nil {
		return out
	}
	if a.Timeout == 0 {
		out = append(out, "no time limit of the route's")
	}
	if a.Retry == DefaultRetry {
		out = append(out, a.Retry.says()+" (the default)")
	}
	return out
}

// says is how often a request is tried, and on what.
func (p *RetryPolicy) says() string {
	if p == nil || p.Attempts == 0 {
		return "no retries"
	}
	var on []string
	for _, word := range retryConditions {
		if retryOn[word] != 0 && p.On&retryOn[word] != 0 {
			on = append(on, word)
		}
	}
	for _, status := range p.Statuses {
		on = append(on, strconv.Itoa(int(status)))
	}
	out := fmt.Sprintf("up to %d retries on %s", p.Attempts, strings.Join(on, ", "))
	if p.Attempts == 1 {
		out = "one retry on " + strings.Join(on, ", ")
	}
	if p.PerTry > 0 {
		out += ", " + p.PerTry.String() + " for each try"
	}
	return out
}

// Says are the settings that hold for the cluster's connections, what nobody wrote too.
func (c *Cluster) Says() []string {
	out := []string{c.TLS.says()}
	if c.Tunnel != nil {
		out = append(out, "opaque bytes go through a tunnel: "+c.Tunnel.Request())
	}
	if c.ConnectTimeout > 0 {
		out = append(out, "connect timeout "+c.ConnectTimeout.String())
	}
	if c.KeepAlive != nil {
		out = append(out, "TCP keep-alive")
	}
	if len(c.Endpoints) != 1 && c.Resolution != ResolveNone && c.Resolution != ResolveDNSRoundRobin {
		out = append(out, "endpoints by "+c.Balance.String())
	}
	if c.Limits != (Limits{}) {
		out = append(out, c.Limits.says())
	}
	out = append(out, c.PoolSettings.times()...)
	if c.Outlier != nil {
		out = append(out, c.Outlier.says())
	}
	return out
}

// times are when a connection ends, where a rule says so.
func (s *PoolSettings) times() (out []string) {
	after := func(d time.Duration) string {
		if d < 0 {
			return "is kept however long it is idle"
		}
		return "ends when it was idle for " + d.String()
	}
	if s.HTTPIdle != 0 {
		out = append(out, "an HTTP connection "+after(s.HTTPIdle))
	}
	if s.TCPIdle != 0 {
		out = append(out, "an opaque connection "+after(s.TCPIdle))
	}
	if s.Ping > 0 {
		out = append(out, "an HTTP/2 server is asked by a PING every "+s.Ping.String()+", and has "+s.PingTimeout.String()+" to answer")
	}
	if s.MaxAge > 0 {
		out = append(out, "a connection lasts "+s.MaxAge.String()+" at most")
	}
	return out
}

// says are the limits that there are.
func (l Limits) says() string {
	var parts []string
	for _, one := range []struct {
		n          uint32
		what, more string
	}{
		{l.Connections, "connection", "connections"}, {l.Pending, "pending request", "pending requests"},
		{l.Requests, "request", "requests"}, {l.Retries, "retry", "retries"},
		{l.PerConnection, "request for each connection", "requests for each connection"},
		{l.Streams, "stream for each connection", "streams for each connection"},
	} {
		switch one.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+one.what)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", one.n, one.more))
		}
	}
	return "at most " + strings.Join(parts, ", ")
}

// says is when an endpoint is left out.
func (o *Outlier) says() string {
	var after []string
	add := func(n uint32, what string) {
		if n > 0 {
			after = append(after, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(o.Consecutive5xx, "failures")
	add(o.ConsecutiveGateway, "of 502, 503 and 504")
	if o.Split {
		add(o.ConsecutiveLocal, "failures without an answer")
	}
	if len(after) == 0 {
		return "no endpoint is ever ejected"
	}
	return fmt.Sprintf("an endpoint is ejected for %s after %s in a row, at most %d%% of them", o.Base, strings.Join(after, " or "), o.MaxPercent)
}

// says is how TLS is originated.
func (t *TLSSettings) says() string {
	if t == nil {
		return "no TLS of sluice's: the bytes go as they are"
	}
	parts := []string{"TLS " + t.Mode.String()}
	if t.SNI != "" {
		parts = append(parts, "server name "+t.SNI)
	}
	switch {
	case t.InsecureSkipVerify:
		parts = append(parts, "certificate not verified")
	case t.Credential != "":
		parts = append(parts, "authorities from the credential "+t.Credential)
	case t.CACertificates != "":
		parts = append(parts, "authorities from "+t.CACertificates)
	default:
		parts = append(parts, "the system's authorities")
	}
	if len(t.SubjectAltNames) > 0 {
		parts = append(parts, "certificate for "+strings.Join(t.SubjectAltNames, " or "))
	}
	if t.CRL != "" {
		parts = append(parts, "revocation lists from "+t.CRL)
	}
	if t.Mode == TLSMutual && t.Credential != "" {
		parts = append(parts, "own certificate from the credential "+t.Credential)
	}
	if t.ClientCertificate != "" {
		parts = append(parts, fmt.Sprintf("own certificate from %s", t.ClientCertificate))
	}
	return strings.Join(parts, ", ")
}
