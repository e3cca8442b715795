package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// askLong ends the help of each.
const askLong = `
HOST keeps those whose host contains it. The answer is bounded (--limit); what is left
out is counted on standard error, and as "more" with -o json.`

func newRoutesCommand() *cobra.Command {
	return question[admin.Route]{
		name:  "routes",
		short: "Show the routes that a running proxy follows",
		long: `routes shows every way through the configuration in force, as the proxy's workload
sees it: for HTTP by Host, for TLS by server name, for TCP by address. Routes of one
host stand in the order in which they are tried: the first that matches decides.
WHERE is the file and line of the rule.
` + askLong,
		example: "  sluice routes\n  sluice routes api.example.com --port 443\n  sluice routes -o json",
		path:    admin.RoutesPath,
		header:  []string{"PORT", "TRAFFIC", "HOST", "MATCH", "DESTINATION", "BESIDES", "WHERE"},
		row: func(r admin.Route) []string {
			host := r.Host
			if len(r.Subnets) > 0 {
				host = strings.TrimSpace(host + " to " + join(r.Subnets))
			}
			return []string{number(r.Port), r.Traffic, host, strings.Join(r.Match, " or "), shares(r.Destinations), strings.Join(r.Does, ", "), r.Source.Place()}
		},
	}.command()
}

func newClustersCommand() *cobra.Command {
	return question[admin.Cluster]{
		name:  "clusters",
		short: "Show where a running proxy's routes lead, and its connections there",
		long: `clusters shows each service on a port that a route leads to: how its addresses are
found, whether TLS is originated, and the proxy's own connections to it, in use and idle.
ENDPOINTS are those that are configured, - where none has to be, as with a host that is
looked up itself: 'sluice endpoints' has the addresses. An HTTP port takes TLS that
applications speak as well, and where a rule originates TLS that is a line of its own, with
TLS DISABLE.
WHERE is the file and line of its ServiceEntry, POLICY of its DestinationRule. With -o
json there are its settings too. A cluster without protocol that has connections belongs
to an earlier configuration, and is leaving.
` + askLong,
		example: "  sluice clusters\n  sluice clusters example.com -o json",
		path:    admin.ClustersPath,
		header:  []string{"CLUSTER", "PROTOCOL", "RESOLUTION", "ENDPOINTS", "TLS", "ACTIVE", "IDLE", "WHERE", "POLICY"},
		row:     clusterRow,
	}.command()
}

func clusterRow(c admin.Cluster) []string {
	protocol, endpoints := c.Protocol, strconv.Itoa(c.Endpoints)
	switch {
	case c.Unknown:
		protocol = "unknown"
	case c.Leaving:
		protocol = "leaving"
	}
	if c.Endpoints == 0 && c.Resolution != mesh.ResolveStatic.String() {
		endpoints = "-"
	}
	return []string{c.Name, protocol, c.Resolution, endpoints, c.TLS, strconv.Itoa(c.Active), strconv.Itoa(c.Idle), c.Source.Place(), c.Policy.Place()}
}

func newEndpointsCommand() *cobra.Command {
	return question[admin.Endpoint]{
		name:  "endpoints",
		short: "Show the addresses that a running proxy knows for each cluster",
		long: `endpoints shows where connections to each cluster go. Nothing is looked up for it: a
name that nobody has asked for yet, or not lately, is "not looked up", and "failed" is one
that DNS has no address for. "other" is an address that connections lead to and that is not
among the known ones: DNS had it when they were made, or the application chose it, or it is
of a wildcard's name. "original" is resolution NONE: the address that the application chose,
if it is one of the name's. "asked" is a wildcard: the name that the request names.
"ejected" is left out by outlier detection, for so long and after the failure that is named.
ACTIVE are the requests and opaque connections under way, CONNECTIONS those that are open.
` + askLong,
		example: "  sluice endpoints\n  sluice endpoints db.example.com",
		path:    admin.EndpointsPath,
		header:  []string{"CLUSTER", "ADDRESS", "NAME", "STATE", "TTL", "WEIGHT", "ACTIVE", "CONNECTIONS"},
		row:     endpointRow,
	}.command()
}

func endpointRow(e admin.Endpoint) []string {
	address, weight, ttl := "", "", ""
	if e.Address != "" {
		address = net.JoinHostPort(e.Address, number(e.Port))
	} else {
		address = ":" + number(e.Port)
	}
	if e.Weight > 0 {
		weight = strconv.Itoa(int(e.Weight))
	}
	if e.Expires != nil {
		ttl = max(time.Until(*e.Expires), 0).Round(time.Second).String()
	}
	state := e.State
	if e.Ejected != nil {
		state += " for " + max(time.Until(*e.Ejected), 0).Round(time.Second).String()
	}
	if e.Error != "" {
		state += ": " + e.Error
	}
	return []string{e.Cluster, address, e.Name, state, ttl, weight, strconv.Itoa(e.Active), strconv.Itoa(e.Connections)}
}

func newConnectionsCommand() *cobra.Command {
	return question[admin.Connection]{
		name:  "connections",
		short: "Show the applications' connections that a running proxy carries",
		long: `connections shows each connection that was redirected to the proxy and is still open:
who made it, where it was going, what it speaks, and where it is carried. Of HTTP the
cluster is that of the last request; SERVER NAME is what a TLS client asked for.
UPSTREAM and OPEN, the age, are those of opaque connections; a request's UPSTREAM is in the
access log.
` + askLong,
		example: "  sluice connections\n  sluice connections db.example.com --port 5432",
		path:    admin.ConnectionsPath,
		header:  []string{"SOURCE", "DESTINATION", "PROTOCOL", "CLUSTER", "SERVER NAME", "UPSTREAM", "OPEN"},
		row: func(c admin.Connection) []string {
			open := ""
			if c.Since != nil {
				open = time.Since(*c.Since).Round(time.Second).String()
			}
			return []string{c.Source, c.Destination, c.Protocol, c.Cluster, c.ServerName, c.Upstream, open}
		},
	}.command()
}

func number(port uint16) string { return strconv.Itoa(int(port)) }

func join[T any](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ",")
}

// shares are a route's destinations: alone, or with their part of the whole.
func shares(all []admin.Destination) string {
	total := uint32(0)
	for _, d := range all {
		total += d.Weight
	}
	texts := make([]string, len(all))
	for i, d := range all {
		if texts[i] = d.Cluster; total > 0 {
			texts[i] += fmt.Sprintf(" %.3g%%", 100*float64(d.Weight)/float64(total))
		}
	}
	return strings.Join(texts, ", ")
}
