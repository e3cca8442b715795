package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
)

// previous parses prevResult in the version it says it is, by default the list's.
func (c conf) previous() (types.Result, error) {
	version, err := c.prevVersion()
	if err != nil {
		return nil, err
	}
	return create.Create(version, c.prevResult)
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

// result is what ADD prints: prevResult in the list's version. When it is in that
// version already its bytes are passed on, so that not even a field unknown to
// the library is lost.
func (c conf) result() ([]byte, error) {
	previous, err := c.previous()
	if err != nil {
		return nil, err
	}
	var stated struct {
		CNIVersion string `json:"cniVersion"`
	}
	if err := json.Unmarshal(c.prevResult, &stated); err != nil {
		return nil, err
	}
	if stated.CNIVersion == c.cniVersion {
		var out bytes.Buffer
		if err := json.Indent(&out, c.prevResult, "", "    "); err != nil {
			return nil, err
		}
		return append(out.Bytes(), '\n'), nil
	}
	converted, err := previous.GetAsVersion(c.cniVersion)
	if err != nil {
		return nil, fmt.Errorf("convert prevResult to %s: %w", c.cniVersion, err)
	}
	var out bytes.Buffer
	err = converted.PrintTo(&out)
	return append(out.Bytes(), '\n'), err
}
