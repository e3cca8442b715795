package plugin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
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
			if strings.HasPrefix(version, "0.") {
				body = strings.ReplaceAll(body, `{"address":"1`, `{"version":"4","address":"1`)
				body = strings.ReplaceAll(body, `{"address":"f`, `{"version":"6","address":"f`)
			}
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

func TestAddConvertsPrevResultToTheListsVersion(t *testing.T) {
	t.Parallel()
	versions := []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}
	for _, from := range versions {
		for _, to := range versions {
			ips := `{"version":"4","address":"10.1.0.2/24"}`
			stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni","prevResult":{"cniVersion":%q,"ips":[%s]}}`, to, from, ips)
			out := call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t)
			out.succeeded(t)
			var result struct {
				CNIVersion string
				IPs        []struct{ Address string }
			}
			if err := json.Unmarshal([]byte(out.stdout), &result); err != nil || result.CNIVersion != to || len(result.IPs) != 1 || result.IPs[0].Address != "10.1.0.2/24" {
				t.Errorf("%s to %s: %s", from, to, out.stdout)
			}
		}
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
