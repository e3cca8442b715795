package mesh

import networking "istio.io/api/networking/v1alpha3"

// File is a file that a resource names and the proxy reads.
type File struct{ Field, Path string }

// Files lists the files that a resource names for use.
func (r *Resource) Files() []File {
	rule, ok := r.Spec.(*networking.DestinationRule)
	if !ok {
		return nil
	}
	const policy = "spec.trafficPolicy"
	files := tlsFiles(policy+".tls", rule.GetTrafficPolicy().GetTls())
	for i, p := range rule.GetTrafficPolicy().GetPortLevelSettings() {
		files = append(files, tlsFiles(at(policy+".portLevelSettings", i)+".tls", p.Tls)...)
	}
	return files
}

func tlsFiles(path string, tls *networking.ClientTLSSettings) []File {
	var out []File
	add := func(field, name string) {
		if name != "" {
			out = append(out, File{path + "." + field, name})
		}
	}
	mutual := tls.GetMode() == networking.ClientTLSSettings_MUTUAL
	if (mutual || tls.GetMode() == networking.ClientTLSSettings_SIMPLE) && tls.CaCertificates != systemRoots {
		add("caCertificates", tls.CaCertificates)
	}
	if (mutual || tls.GetMode() == networking.ClientTLSSettings_SIMPLE) && !tls.GetInsecureSkipVerify().GetValue() {
		add("caCrl", tls.GetCaCrl())
	}
	if mutual {
		add("clientCertificate", tls.ClientCertificate)
		add("privateKey", tls.PrivateKey)
	}
	return out
}
