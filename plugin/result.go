package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types/create"
)

// judgePrevResult parses prevResult in the version it says it is, by default the
// list's, as the runtime will.
func (c conf) judgePrevResult() error {
	version, err := c.prevVersion()
	if err == nil {
		_, err = create.Create(version, c.prevResult)
	}
	return err
}

func (c conf) prevVersion() (string, error) {
	if len(c.prevResult) == 0 || c.prevResult[0] != '{' {
		return "", errNotObject
	}
	var v struct {
		CNIVersion *string `json:"cniVersion"`
	}
	if err := json.Unmarshal(c.prevResult, &v); err != nil {
		return "", err
	}
	if v.CNIVersion == nil || *v.CNIVersion == "" {
		return c.cniVersion, nil
	}
	return *v.CNIVersion, nil
}

// result is what ADD prints: prevResult in the list's version. The library's
// conversion would drop every field that the older version does not know, so the
// JSON itself is rewritten. From 0.3.1 to 1.1.0 the versions differ in one thing
// that was ever taken away: an address said its family until 1.0.0. What 1.1.0
// added (mtu, socketPath, pciID, table, scope) means nothing to the older ones,
// and harms nothing.
func (c conf) result() ([]byte, error) {
	stated, err := c.prevVersion()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(stated, "0.1.") || strings.HasPrefix(stated, "0.2.") {
		return nil, fmt.Errorf("it is of version %s, from before plugins were chained", stated)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(c.prevResult, &object); err != nil {
		return nil, err
	}
	if _, given := object["cniVersion"]; given && stated == c.cniVersion {
		return indented(c.prevResult)
	}
	if object["cniVersion"], err = json.Marshal(c.cniVersion); err != nil {
		return nil, err
	}
	if err := rewriteFamilies(object, saysFamily(c.cniVersion)); err != nil {
		return nil, fmt.Errorf("convert prevResult to %s: %w", c.cniVersion, err)
	}
	converted, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return indented(converted)
}

// saysFamily reports whether an address has a version, "4" or "6", in results of
// this version of the specification.
func saysFamily(cniVersion string) bool { return strings.HasPrefix(cniVersion, "0.") }

func rewriteFamilies(object map[string]json.RawMessage, wanted bool) error {
	raw, given := object["ips"]
	if !given {
		return nil
	}
	var ips []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &ips); err != nil {
		return err
	}
	for _, ip := range ips {
		if ip == nil { // a null, which the library reads as no address
			continue
		}
		delete(ip, "version")
		if wanted {
			ip["version"] = json.RawMessage(`"4"`)
			if slices.Contains(ip["address"], ':') {
				ip["version"] = json.RawMessage(`"6"`)
			}
		}
	}
	var err error
	object["ips"], err = json.Marshal(ips)
	return err
}

func indented(raw []byte) ([]byte, error) {
	var out bytes.Buffer
	err := json.Indent(&out, raw, "", "    ")
	out.WriteByte('\n')
	return out.Bytes(), err
}
