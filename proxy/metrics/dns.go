package metrics

import (
	"context"
	"errors"
	"net"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/proxy/dns"
)

// dnsCounts counts questions by what came back.
type dnsCounts struct{ results, failures reasons }

// CountDNS counts what passes through an exchange.
func (m *Metrics) CountDNS(ask dns.Exchange) dns.Exchange {
	return func(ctx context.Context, q *mdns.Msg, server string) (*mdns.Msg, error) {
		answer, err := ask(ctx, q, server)
		result, failed := resultOf(answer, err)
		m.dns.results.add(result, 1)
		if failed {
			m.dns.failures.add("", 1)
		}
		return answer, err
	}
}

// resultOf names a result out of few: a server may answer any code.
func resultOf(answer *mdns.Msg, err error) (result string, failed bool) {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled", false // an answer of the other family came first
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout", true
	case err != nil:
		return "error", true
	}
	name, known := mdns.RcodeToString[answer.Rcode]
	if !known {
		name = "other"
	}
	return name, answer.Rcode != mdns.RcodeSuccess && answer.Rcode != mdns.RcodeNameError
}

func (d *dnsCounts) collect(c sink) {
	d.results.each(func(result string, n int64) { c.counter("sluice_dns_queries_total", float64(n), result) })
	failures := int64(0)
	d.failures.each(func(_ string, n int64) { failures = n })
	c.counter("sluice_dns_query_failures_total", float64(failures))
}
