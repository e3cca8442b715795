package mesh

import (
	"fmt"
	"strings"
)

// Says are what an action does, a line each.
func (a *HTTPAction) Says() []string {
	var out []string
	if a.Timeout > 0 {
		out = append(out, "timeout "+a.Timeout.String())
	}
	if a.Fault != nil {
		out = append(out, a.Fault.says()...)
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

// Says are the cluster's settings of connections, a line each, those that have their
// default too where it matters.
func (c *Cluster) Says() []string {
	out := []string{c.TLS.says()}
	if c.ConnectTimeout > 0 {
		out = append(out, "connect timeout "+c.ConnectTimeout.String())
	}
	if c.KeepAlive != nil {
		out = append(out, "TCP keep-alive")
	}
	return out
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
