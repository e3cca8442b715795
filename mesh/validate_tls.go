package mesh

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// clientTLS follows Istio's ValidateTLS, which says nothing of settings that a mode
// does not use: those are warned of here.
func (c *checker) clientTLS(path string, tls *networking.ClientTLSSettings) {
	if tls == nil {
		return
	}
	c.value(path+".mode", tls.Mode.String())
	for _, f := range tlsFields(tls) {
		c.isPath(path+"."+f.name, f.value)
	}
	if tls.Sni != "" {
		c.serverName(path+".sni", tls.Sni)
	}
	switch tls.Mode {
	case networking.ClientTLSSettings_SIMPLE, networking.ClientTLSSettings_MUTUAL:
	case networking.ClientTLSSettings_DISABLE:
		c.unusedTLS(path, tls)
		return
	default: // ISTIO_MUTUAL, which is refused
		return
	}
	if tls.GetInsecureSkipVerify().GetValue() {
		c.skipVerify(path, tls)
	}
	if tls.CredentialName != "" {
		c.credential(path, tls)
		return
	}
	if tls.Mode == networking.ClientTLSSettings_MUTUAL {
		c.needed(path+".clientCertificate", tls.ClientCertificate)
		c.needed(path+".privateKey", tls.PrivateKey)
		return
	}
	c.unusedCertificate(path+".clientCertificate", tls.ClientCertificate)
	c.unusedCertificate(path+".privateKey", tls.PrivateKey)
}

type tlsField struct{ name, value string }

// tlsFields are the settings that name files.
func tlsFields(tls *networking.ClientTLSSettings) []tlsField {
	return []tlsField{
		{"caCertificates", tls.CaCertificates}, {"clientCertificate", tls.ClientCertificate},
		{"privateKey", tls.PrivateKey}, {"caCrl", tls.CaCrl},
	}
}

// skipVerify is about settings of a check that is not made.
func (c *checker) skipVerify(path string, tls *networking.ClientTLSSettings) {
	refuse := func(field string, there bool) {
		if there {
			c.error(path+".insecureSkipVerify", "true", "cannot be together with %s; remove one of them", field)
		}
	}
	refuse("caCertificates", tls.CaCertificates != "")
	refuse("subjectAltNames", len(tls.SubjectAltNames) > 0)
	// In mode MUTUAL the credential may be there for the client's certificate alone.
	refuse("credentialName", tls.CredentialName != "" && tls.Mode == networking.ClientTLSSettings_SIMPLE)
	if tls.CaCrl != "" {
		c.warn(path+".caCrl", tls.CaCrl, "nothing is verified (insecureSkipVerify), so it has no effect; remove one of them")
	}
}

const noTLS = "mode DISABLE speaks no TLS, so it has no effect; use mode SIMPLE or MUTUAL"

// unusedTLS warns of all that mode DISABLE, which is the default, makes nothing of.
func (c *checker) unusedTLS(path string, tls *networking.ClientTLSSettings) {
	for _, f := range append(tlsFields(tls), tlsField{"credentialName", tls.CredentialName}, tlsField{"sni", tls.Sni}) {
		if f.value != "" && !isPEM(f.value) {
			c.warn(path+"."+f.name, f.value, noTLS)
		}
	}
	for _, f := range []struct {
		name  string
		there bool
	}{{"subjectAltNames", len(tls.SubjectAltNames) > 0}, {"insecureSkipVerify", tls.GetInsecureSkipVerify().GetValue()}} {
		if f.there {
			c.warn(path+"."+f.name, "", noTLS)
		}
	}
}

// isPath refuses what a file holds where its name is wanted, without repeating it:
// it may be a key.
func (c *checker) isPath(path, file string) {
	if isPEM(file) {
		c.error(path, "", "holds the text of a certificate or key; write the path of a file that holds it")
	}
}

func isPEM(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") }

func (c *checker) needed(path, file string) {
	if file == "" {
		c.error(path, "", "is missing; mode MUTUAL presents a certificate: name its file, or a credential (credentialName)")
	}
}

func (c *checker) unusedCertificate(path, file string) {
	if file != "" && !isPEM(file) {
		c.warn(path, file, "mode SIMPLE presents no certificate, so it has no effect; use mode MUTUAL")
	}
}

func (c *checker) serverName(path, name string) {
	switch {
	case isAddress(name):
		c.error(path, name, "an address is never sent as SNI; write a name")
	case strings.Contains(name, "*"):
		c.error(path, name, "a wildcard cannot be sent as SNI; write a name")
	default:
		c.hostName(path, name)
	}
}

// secretScheme may begin the name of a credential: it is Istio's default.
const secretScheme = "kubernetes://"

// credentialOf is the bare name of a credential.
func credentialOf(name string) string { return strings.TrimPrefix(name, secretScheme) }

func (c *checker) credential(path string, tls *networking.ClientTLSSettings) {
	for _, f := range tlsFields(tls) {
		if f.value != "" {
			c.error(path+"."+f.name, "", "cannot be together with credentialName, which holds all of them; remove one of them")
		}
	}
	field, name := path+".credentialName", credentialOf(tls.CredentialName)
	scheme, _, other := strings.Cut(name, "://")
	switch {
	case other && scheme == "configmap":
		c.error(field, tls.CredentialName, "names a ConfigMap, and none is read; "+
			"name a credential, or the file of the authorities as caCertificates")
	case other:
		c.error(field, tls.CredentialName, "no credentials come from %s://; write the name alone", scheme)
	case strings.Contains(name, "/"):
		c.error(field, tls.CredentialName, "a credential is always one of the workload's own namespace; write %s", name[strings.LastIndex(name, "/")+1:])
	default:
		if complaint := NameComplaint(name); complaint != "" {
			c.error(field, tls.CredentialName, "%s", complaint)
		}
	}
}
