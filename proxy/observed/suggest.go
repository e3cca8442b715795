package observed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// maxPorts is how many ports a ServiceEntry may have (the maxItems of Istio's definition).
const maxPorts = 256

// Suggest writes a YAML document for each namespace and name, or address, of rows: a comment
// that says what was seen, and what else it opens, and the ServiceEntry that lets it through, for its namespace
// only. It is sorted, and its entries have names of their own. without are rows for which
// none can be written safely.
func Suggest(rows []Row) (documents []string, without []Row) {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b Row) int { return a.What.compare(b.What) })
	taken := map[string]bool{}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].destination() == rows[0].destination() {
			n++
		}
		for entry := range slices.Chunk(wanted(rows[:n]), maxPorts) {
			of := slices.DeleteFunc(slices.Clone(rows[:n]), func(r Row) bool {
				return r.Port < entry[0].Number || r.Port > entry[len(entry)-1].Number
			})
			w := mesh.Wanted{Namespace: rows[0].Namespace, Host: rows[0].Name, Addr: rows[0].Address, Ports: entry}
			name, document := w.Registration()
			if document == "" {
				without = append(without, of...)
				continue
			}
			if taken[w.Namespace+"/"+name] { // a.b-c.org and a-b.c.org
				sum := sha256.Sum256([]byte(w.Host + w.Addr.String()))
				w.Suffix = "-" + hex.EncodeToString(sum[:4])
				name, document = w.Registration()
			}
			taken[w.Namespace+"/"+name] = true
			documents = append(documents, comment(of)+opens(w)+document)
		}
		rows = rows[n:]
	}
	return documents, without
}

// destination is what has one ServiceEntry.
func (w What) destination() What {
	return What{Namespace: w.Namespace, Name: w.Name, Address: w.Address}
}

// wanted are the ports of rows, which are sorted by them.
func wanted(rows []Row) (ports []mesh.WantedPort) {
	for _, r := range rows {
		p := mesh.WantedPort{Number: r.Port, Protocol: mesh.ParseProtocol(r.Protocol)}
		switch last := len(ports) - 1; {
		case last < 0 || ports[last].Number != p.Number:
			ports = append(ports, p)
		case ports[last].Protocol != p.Protocol:
			ports[last].Protocol = mesh.Unset
		}
	}
	return ports
}

// comment says what was seen of a destination. Nothing of it is a stranger's words.
func comment(rows []Row) string {
	var b strings.Builder
	for _, r := range rows {
		times := "once"
		if r.Count != 1 {
			times = fmt.Sprint(r.Count, " times")
		}
		if r.Unreached == r.Count {
			times += " and never reached"
		}
		fmt.Fprintf(&b, "# port %d, %s: asked for %s, first %s, last %s\n", r.Port, mesh.ParseProtocol(r.Protocol), times,
			r.First.UTC().Format(time.RFC3339), r.Last.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// opens says what an entry lets through beside what was seen.
func opens(w mesh.Wanted) string {
	var b strings.Builder
	for _, p := range w.Ports {
		switch {
		case w.Host == "" && (p.Protocol == mesh.TCP || p.Protocol == mesh.Unset):
			fmt.Fprintf(&b, "# opens port %d of the address for everything, TLS of whatever server name included\n", p.Number)
		case p.Protocol == mesh.Unset:
			fmt.Fprintf(&b, "# opens port %d for every protocol: TCP without a name too, to whatever address the name has\n", p.Number)
		}
	}
	if a := w.Addr.Unmap(); w.Host == "" && (a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified()) {
		fmt.Fprintf(&b, "# opens an address of the machine or its cloud, whatever --unsafe-ranges says\n")
	}
	return b.String()
}
