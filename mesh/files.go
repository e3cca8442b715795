package mesh

// File is a file that a resource names and the proxy reads.
type File struct{ Field, Path string }

// Files lists the files that a resource names for use.
func (r *Resource) Files() []File {
	var out []File
	for _, o := range r.Originations() {
		add := func(used bool, field, path string) {
			if used && path != "" {
				out = append(out, File{o.Field + "." + field, path})
			}
		}
		t := o.TLS
		verify, mutual := !t.InsecureSkipVerify, t.Mode == TLSMutual
		add(verify, "caCertificates", t.CACertificates)
		add(verify, "caCrl", t.CRL)
		add(mutual, "clientCertificate", t.ClientCertificate)
		add(mutual, "privateKey", t.PrivateKey)
	}
	return out
}
