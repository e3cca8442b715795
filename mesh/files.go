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
	files := policyFiles("spec.trafficPolicy", rule.TrafficPolicy)
	for i, s := range rule.Subsets {
		files = append(files, policyFiles(at("spec.subsets", i)+".trafficPolicy", s.TrafficPolicy)...)
	}
	return files
}

func policyFiles(path string, policy *networking.TrafficPolicy) []File {
	files := tlsFiles(path+".tls", policy.GetTls())
	for i, p := range policy.GetPortLevelSettings() {
		files = append(files, tlsFiles(at(path+".portLevelSettings", i)+".tls", p.Tls)...)
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
