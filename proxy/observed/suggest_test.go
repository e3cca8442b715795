package observed

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/mesh"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func row(namespace, name string, port uint16, protocol string, n int64) Row {
	return Row{What: What{Namespace: namespace, Name: name, Port: port, Protocol: protocol}, Count: n, First: noon, Last: noon.Add(time.Minute)}
}

func address(addr string, port uint16, protocol string) Row {
	r := row("shop", "", port, protocol, 1)
	r.Address = netip.MustParseAddr(addr)
	return r
}

func TestOneServiceEntryForEachNamespaceAndName(t *testing.T) {
	t.Parallel()
	documents, without := Suggest([]Row{
		row("shop", "api.example.com", 443, "TLS", 7), address("203.0.113.9", 5432, "TCP"), row("shop", "api.example.com", 80, "HTTP", 5),
		row("other", "api.example.com", 443, "TLS", 1), row("shop", "api.example.com", 443, "HTTP2", 2), row("shop", "localhost", 80, "HTTP", 3),
	})
	want := `# port 443, TLS: asked for once, first 2026-11-26T12:00:00Z, last 2026-11-26T12:01:00Z
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api-example-com-443
  namespace: other
spec:
  hosts: [api.example.com]
  exportTo: ["."]
  ports:
  - {number: 443, name: tls, protocol: TLS}
  resolution: DNS
---
# port 5432, TCP: asked for once, first 2026-11-26T12:00:00Z, last 2026-11-26T12:01:00Z
# opens port 5432 of the address for everything, TLS of whatever server name included
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: tcp-203-0-113-9-5432
  namespace: shop
spec:
  hosts: [tcp-203-0-113-9.external]
  addresses: [203.0.113.9]
  exportTo: ["."]
  ports:
  - {number: 5432, name: tcp, protocol: TCP}
  resolution: NONE
---
# port 80, HTTP: asked for 5 times, first 2026-11-26T12:00:00Z, last 2026-11-26T12:01:00Z
# port 443, HTTP2: asked for 2 times, first 2026-11-26T12:00:00Z, last 2026-11-26T12:01:00Z
# port 443, TLS: asked for 7 times, first 2026-11-26T12:00:00Z, last 2026-11-26T12:01:00Z
# opens port 443 for every protocol: TCP without a name too, to whatever address the name has
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api-example-com-80-443
  namespace: shop
spec:
  hosts: [api.example.com]
  exportTo: ["."]
  ports:
  - {number: 80, name: http-80, protocol: HTTP}
  - {number: 443, name: any-443}
  resolution: DNS
`
	if diff := cmp.Diff(want, strings.Join(documents, "---\n")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(without) != 1 || without[0].Name != "localhost" {
		t.Errorf("without %v", without)
	}
}

func TestAnEntryForTheMachinesOwnAddressSaysSo(t *testing.T) {
	t.Parallel()
	const says = "# opens an address of the machine or its cloud"
	for addr, want := range map[string]bool{"169.254.169.254": true, "::1": true, "::ffff:127.0.0.1": true, "fe80::1": true, "203.0.113.9": false, "2001:db8::7": false} {
		documents, _ := Suggest([]Row{address(addr, 80, "TCP")})
		if len(documents) != 1 || strings.Contains(documents[0], says) != want {
			t.Errorf("%s: %q", addr, documents)
		}
	}
}

// What is left of a name that was cut is another host's.
func TestNothingIsSuggestedForANameThatWasCut(t *testing.T) {
	t.Parallel()
	table := New()
	table.Note("shop", strings.Repeat("a.", 123)+"example.org", netip.Addr{}, 80, mesh.HTTP)
	rows, _ := table.Rows()
	if documents, without := Suggest(rows); len(documents) > 0 || len(without) != 1 || rows[0].Register != "" || len(rows[0].Name) != maxName {
		t.Errorf("%q, without %v", documents, without)
	}
}

func TestAHostThatEndsInADotIsOne(t *testing.T) {
	t.Parallel()
	line := func(rest string) string {
		return `{"start_time":"2026-11-26T12:00:00Z","downstream_local_address":"203.0.113.1:443","would_refuse":"unregistered","pod_namespace":"shop",` + rest + "}\n"
	}
	l, err := ReadLog(strings.NewReader(line(`"requested_server_name":"api.example.com"`) + line(`"requested_server_name":"api.example.com."`) +
		line(`"authority":"api.example.com.:443","protocol":"HTTP/1.1"`) + line(`"authority":"api.example.com..","protocol":"HTTP/1.1"`)))
	documents, without := Suggest(l.Rows)
	if err != nil || len(documents) != 1 || len(without) != 2 || without[0].Name != "api.example.com.." {
		t.Errorf("%q, without %v, %v", documents, without, err)
	}
}

// Names come from pods.
func TestSuggestionsAreValidAndHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	rows := []Row{row("shop", "a-b.c.example", 80, "HTTP", 1), row("shop", "a.b-c.example", 80, "HTTP", 1), row("", "a.example", 80, "HTTP", 1),
		row("shop", strings.Repeat("a.", 120)+"example", 80, "HTTP", 1), row("shop", strings.Repeat("a.", 119)+"example", 80, "HTTP", 1),
		row("shop", "x}, {y.com", 80, "HTTP", 1), row("shop", "a.com\nkind: x", 80, "HTTP", 1), row("no namespace", "a.com", 80, "HTTP", 1),
		row("shop", "a.com", 80, "x\nkind: y", 1), row("shop", "b.com", 0, "TCP", 1)}
	for port := range uint16(600) {
		rows = append(rows, row("shop", "many.example", port+1, "TLS", 1))
	}
	for port := range uint16(8) { // alike in as much as is in a name
		long := strings.Repeat("abcdefgh.", 25)
		rows = append(rows, row("shop", long+"x.example", 60000+port, "TLS", 1), row("shop", long+"y.example", 60000+port, "TLS", 1))
	}
	rows = append(rows, address("2001:db8::7", 80, "HTTP"), address("2001:db8::7", 5432, "TCP"))
	documents, without := Suggest(rows)
	text := strings.Join(documents, "---\n")
	resources, issues := mesh.Decode("stdin", []byte(text), mesh.DecodeOptions{})
	if len(issues) > 0 {
		t.Fatalf("%v\n%s", issues, text)
	}
	if _, issues = mesh.Build(resources, mesh.Options{}); issues.HasErrors() {
		t.Fatal(issues)
	}
	names := map[string]bool{}
	for _, r := range resources {
		names[r.Namespace+"/"+r.Name] = true
	}
	if len(names) != 12 || len(resources) != 12 || len(without) != 4 {
		t.Errorf("%d names of %d entries, %d without one", len(names), len(resources), len(without))
	}
}

func TestAnAccessLogIsReadPastWhatIsNone(t *testing.T) {
	t.Parallel()
	line := func(second int, destination, rest string) string {
		return fmt.Sprintf(`{"start_time":"2026-11-26T12:00:%02d.000Z","downstream_local_address":%q,%s}`+"\n", second, destination, rest)
	}
	const refused = `"would_refuse":"unregistered"`
	l, err := ReadLog(strings.NewReader(
		"time=2026-11-26T12:00:00Z level=INFO msg=\"observed: REGISTRY_ONLY would refuse this\"\n" +
			line(9, "203.0.113.1:80", `"protocol":"HTTP/1.1","authority":"API.example.com.:80",`+refused+`,"pod_namespace":"shop","pod_name":"web"`) +
			"[pod/sluice-agent-x/agent] " + line(3, "203.0.113.2:80", `"protocol":"HTTP/1.1","authority":"api.example.com",`+refused+`,"pod_namespace":"shop"`) +
			line(3, "203.0.113.2:80", `"protocol":"HTTP/1.1","authority":"registered.example.com","pod_namespace":"shop"`) +
			line(3, "203.0.113.2:80", `"protocol":"HTTP/1.1","path":"\"would_refuse\":\"unregistered\"","authority":"a.com","pod_namespace":"shop"`) +
			line(3, "203.0.113.2:443", `"protocol":null,"authority":null,"requested_server_name":"api.example.com",`+refused+`,"pod_namespace":"shop"`) +
			line(3, "203.0.113.2:5432", `"protocol":null,`+refused+`,"pod_namespace":"shop"`) +
			line(3, "240.240.0.1:5432", `"protocol":null,`+refused+`,"pod_namespace":"shop"`) + // a virtual address
			line(3, "203.0.113.2:443", `"protocol":"HTTP/2","authority":"[2001:db8::1]:443",`+refused+`,"pod_namespace":"shop"`) +
			strings.Repeat("x", 3<<20) + "\n\n" +
			`{"start_time":"2026-11-26T12:00:00.000Z","downst`))
	if err != nil || l.Lines != 8 || l.Other != 3 || l.Text != 0 {
		t.Errorf("%d lines, %d others, %d in text, %v", l.Lines, l.Other, l.Text, err)
	}
	got := map[string]string{}
	for _, r := range l.Rows {
		got[fmt.Sprint(r.Namespace, " ", r.Name, " ", r.Address, " ", r.Port, " ", r.Protocol)] = fmt.Sprint(r.Count, " ", r.First.Second(), " ", r.Last.Second())
	}
	want := map[string]string{"shop api.example.com invalid IP 80 HTTP": "2 3 9", "shop api.example.com invalid IP 443 TLS": "1 3 3",
		"shop  203.0.113.2 5432 TCP": "1 3 3", "shop  2001:db8::1 443 HTTP2": "1 3 3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	text := "[2026-11-26T12:00:00.000Z] \"GET / HTTP/1.1\" 200 would_refuse=unregistered shop web\n"
	own := `time=2026-11-26T12:00:00Z level=WARN msg="refused" host="[2026-11-26T12:00:00Z] \" would_refuse=unregistered"` + "\n" // a pod's words
	if l, _ := ReadLog(strings.NewReader(text + "[pod/sluice-agent-x/agent] " + text + own + "[pod/sluice-agent-x/agent] " + own)); l.Text != 2 || l.Other != 4 {
		t.Errorf("%+v", l)
	}
}

// What never worked needs no entry: who reads the suggestions is told.
func TestWhatWasNeverReachedIsSaid(t *testing.T) {
	t.Parallel()
	line := func(name, flags string) string {
		return fmt.Sprintf(`{"start_time":"2026-11-26T12:00:00.000Z","protocol":"HTTP/1.1","response_flags":%q,"downstream_local_address":"203.0.113.1:80","authority":%q,"would_refuse":"unregistered","pod_namespace":"shop"}`+"\n", flags, name)
	}
	l, err := ReadLog(strings.NewReader(line("down.test", "UF,URX") + line("down.test", "DI,UF") + line("flaky.test", "UF,URX") + line("flaky.test", "-") + line("up.test", "-") + line("slow.test", "UT")))
	if err != nil {
		t.Fatal(err)
	}
	documents, _ := Suggest(l.Rows)
	var got []string
	for _, d := range documents {
		comment, _, _ := strings.Cut(d, ", first")
		got = append(got, comment)
	}
	want := []string{"# port 80, HTTP: asked for 2 times and never reached", "# port 80, HTTP: asked for 2 times", "# port 80, HTTP: asked for once", "# port 80, HTTP: asked for once"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
