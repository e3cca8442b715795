package plugin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types/create"
)

func TestAddPassesPrevResultOnUnchanged(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		for name, body := range map[string]string{
			"everything":      `"interfaces":[{"name":"veth0","mac":"00:00:00:00:00:01"},{"name":"eth0","mtu":1400,"sandbox":"/s","socketPath":"/p","pciID":"1"}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":1},{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1300,"table":100,"scope":0}],"dns":{"nameservers":["10.96.0.10"],"search":["a"]},"new":{"field":[1.5]}`,
			"no address":      `"dns":{}`,
			"dangling index":  `"ips":[{"address":"10.1.0.2/24","interface":7}],"dns":{}`,
			"IPv6 only":       `"ips":[{"address":"fd00::2/64"}],"dns":{}`,
			"empty":           `"ips":[]`,
			"markup in a DNS": `"dns":{"domain":"<a&b>"}`,
		} {
			body = withFamilies(body, version)
			prev := fmt.Sprintf(`{"cniVersion":%q,%s}`, version, body)
			stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni","prevResult":%s}`, version, prev)
			out := call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t)
			out.succeeded(t)
			if !sameJSON(t, out.stdout, prev) {
				t.Errorf("%s, %s: in %s out %s", version, name, prev, out.stdout)
			}
		}
	}
}

// Every field survives every pair of versions: what a version does not know means
// nothing to its readers, and a later plugin of the chain may know it.
func TestAddConvertsPrevResultToTheListsVersionAndLosesNothing(t *testing.T) {
	t.Parallel()
	versions := []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}
	bodies := map[string]string{
		"everything":     `"interfaces":[{"name":"eth0","mac":"00:00:00:00:00:01","mtu":1400,"sandbox":"/s","socketPath":"/p","pciID":"1"}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0},{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1300,"advmss":1200,"priority":7,"table":100,"scope":253}],"dns":{"nameservers":["10.96.0.10"]},"new":{"number":12345678901234567890}`,
		"no address":     `"interfaces":[],"dns":{}`,
		"dangling index": `"ips":[{"address":"10.1.0.2/24","interface":7}]`,
		"IPv6 only":      `"ips":[{"address":"fd00::2/64"}]`,
	}
	for _, from := range versions {
		for _, to := range versions {
			for name, body := range bodies {
				in := fmt.Sprintf(`{"cniVersion":%q,%s}`, from, withFamilies(body, from))
				want := fmt.Sprintf(`{"cniVersion":%q,%s}`, to, withFamilies(body, to))
				stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni","prevResult":%s}`, to, in)
				out := call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t)
				out.succeeded(t)
				if !sameJSON(t, out.stdout, want) || strings.Contains(body, "12345678901234567890") && !strings.Contains(out.stdout, "12345678901234567890") {
					t.Errorf("%s, %s to %s: want %s, got %s", name, from, to, want, out.stdout)
				}
				if _, err := create.CreateFromBytes([]byte(out.stdout)); err != nil {
					t.Errorf("%s, %s to %s: the runtime cannot read it: %v", name, from, to, err)
				}
			}
		}
	}
}

// withFamilies gives addresses the version that results had until 1.0.0.
func withFamilies(body, version string) string {
	if strings.HasPrefix(version, "0.") {
		body = strings.ReplaceAll(body, `{"address":"1`, `{"version":"4","address":"1`)
		body = strings.ReplaceAll(body, `{"address":"f`, `{"version":"6","address":"f`)
	}
	return body
}

func TestAResultFromBeforeChainsIsRefused(t *testing.T) {
	t.Parallel()
	stdin := `{"cniVersion":"1.0.0","name":"net","type":"sluice-cni","prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24"}}}`
	if f := (call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}).run(t).failed(t); f.Code != 7 || !strings.Contains(f.Details, "0.2.0") {
		t.Errorf("%+v", f)
	}
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}
