package mesh

import networking "istio.io/api/networking/v1alpha3"

// systemRoots is Istio's word for the default of caCertificates.
const systemRoots = "system"

// tlsModes are those in which TLS is originated.
var tlsModes = map[networking.ClientTLSSettings_TLSmode]TLSMode{
	networking.ClientTLSSettings_SIMPLE: TLSSimple,
	networking.ClientTLSSettings_MUTUAL: TLSMutual,
}

// compileTLS gives the TLS that is spoken to servers, nil for none.
func compileTLS(tls *networking.ClientTLSSettings) *TLSSettings {
	mode, originate := tlsModes[tls.GetMode()]
	if !originate {
		return nil
	}
	out := &TLSSettings{
		Mode:               mode,
		SNI:                tls.Sni,
		SubjectAltNames:    tls.SubjectAltNames,
		CACertificates:     tls.CaCertificates,
		ClientCertificate:  tls.ClientCertificate,
		PrivateKey:         tls.PrivateKey,
		CRL:                tls.CaCrl,
		Credential:         credentialOf(tls.CredentialName),
		InsecureSkipVerify: tls.GetInsecureSkipVerify().GetValue(),
	}
	if out.CACertificates == systemRoots {
		out.CACertificates = ""
	}
	return out
}

// Origination is TLS that a field of a resource has the proxy speak.
type Origination struct {
	Field string
	TLS   *TLSSettings
}

// Originations lists the TLS settings of a DestinationRule that have TLS spoken: of its
// policy, of its subsets' and of ports.
func (r *Resource) Originations() []Origination {
	rule, ok := r.Spec.(*networking.DestinationRule)
	if !ok {
		return nil
	}
	var out []Origination
	add := func(path string, tls *networking.ClientTLSSettings) {
		if t := compileTLS(tls); t != nil {
			out = append(out, Origination{path + ".tls", t})
		}
	}
	for path, policy := range policiesOf(rule) {
		add(path, policy.Tls)
		for item, settings := range portSettings(path, policy) {
			add(item, settings.Tls)
		}
	}
	return out
}
