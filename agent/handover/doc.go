// Package handover is where a node's agents are asked, one after the other: a unix socket
// under one name, and an address for the metrics. Which agent serves is not decided here: it
// is told.
package handover
