package credential

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
)

// For is what TLS settings want, for a workload of a namespace.
func For(t *mesh.TLSSettings, namespace string) Wanted {
	w := Wanted{Present: t.Mode == mesh.TLSMutual, Verify: !t.InsecureSkipVerify}
	if t.Credential != "" {
		w.Namespace, w.Name = namespace, t.Credential
		return w
	}
	w.CACertificates, w.CRL = t.CACertificates, t.CRL
	w.ClientCertificate, w.PrivateKey = t.ClientCertificate, t.PrivateKey
	return w
}

var errChanging = errors.New("is being written to")

func changing(err error) bool { return errors.Is(err, errChanging) }

// wantedFile is a file and the field that names it.
type wantedFile struct{ field, path string }

// files are the files that will be read.
func (w Wanted) files() []wantedFile {
	var out []wantedFile
	add := func(wanted bool, field, path string) {
		if wanted && path != "" {
			out = append(out, wantedFile{field, path})
		}
	}
	add(w.Verify, "caCertificates", w.CACertificates)
	add(w.Verify, "caCrl", w.CRL)
	add(w.Present, "clientCertificate", w.ClientCertificate)
	add(w.Present, "privateKey", w.PrivateKey)
	return out
}

// version says which content there is now.
func (w Wanted) version(source Source) (Version, error) {
	if w.Name == "" {
		return versionOf(w.files())
	}
	out, err := source.Version(w.Namespace, w.Name)
	if err != nil && !(w.rootsApart() && errors.Is(err, fs.ErrNotExist)) {
		return Version{}, err
	}
	if w.Verify {
		apart, missing := source.Version(w.Namespace, w.Name+apartSuffix)
		switch {
		case missing == nil:
			out.Text += "\n" + apart.Text
			if apart.Changed.After(out.Changed) {
				out.Changed = apart.Changed
			}
		case err != nil: // the credential itself is missed
			return Version{}, err
		case !errors.Is(missing, fs.ErrNotExist):
			return Version{}, missing
		}
	}
	return out, nil
}

// apartSuffix ends the name of a credential that has only the authorities of another.
const apartSuffix = "-cacert"

// rootsApart says that a credential of authorities alone would do.
func (w Wanted) rootsApart() bool { return w.Verify && !w.Present }

func (w Wanted) read(source Source) (*Material, error) {
	if w.Name != "" {
		return w.readNamed(source)
	}
	m := &Material{}
	content := make(map[string][]byte)
	for _, f := range w.files() {
		data, err := readFile(f.path)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", f.field, f.path, err)
		}
		content[f.field] = data
	}
	var err error
	if data, wanted := content["caCertificates"]; wanted {
		if m.Roots, err = parseRoots(data); err != nil {
			return nil, fmt.Errorf("caCertificates %q: %w", w.CACertificates, err)
		}
	}
	if data, wanted := content["caCrl"]; wanted {
		if m.CRL, err = parseLists(data); err != nil {
			return nil, fmt.Errorf("caCrl %q: %w", w.CRL, err)
		}
	}
	if w.Present {
		if m.Pair, err = parsePair(content["clientCertificate"], content["privateKey"]); err != nil {
			return nil, fmt.Errorf("clientCertificate %q with privateKey %q: %w", w.ClientCertificate, w.PrivateKey, err)
		}
	}
	return m, nil
}

// The keys of a credential, in Istio's order: those of an Opaque Secret, then those
// of a Secret of the type kubernetes.io/tls.
var (
	pairKeys = [][2]string{{"cert", "key"}, {"tls.crt", "tls.key"}}
	rootKeys = [][2]string{{"cacert", "crl"}, {"ca.crt", "ca.crl"}}
)

func (w Wanted) readNamed(source Source) (*Material, error) {
	m := &Material{}
	content, err := source.Read(w.Namespace, w.Name)
	if err != nil && !(w.rootsApart() && errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	if w.Present {
		certificate, key := first(content, pairKeys)
		if certificate == nil || key == nil {
			return nil, errors.New("has no certificate with its key; put them there as tls.crt and tls.key, or cert and key")
		}
		if m.Pair, err = parsePair(certificate, key); err != nil {
			return nil, err
		}
	}
	if !w.Verify {
		return m, nil
	}
	// Authorities of their own name come before those beside the certificate.
	if apart, missing := source.Read(w.Namespace, w.Name+apartSuffix); missing == nil {
		content = apart
	} else if !errors.Is(missing, fs.ErrNotExist) {
		return nil, missing
	}
	roots, lists := first(content, rootKeys)
	if roots == nil {
		return nil, fmt.Errorf("has no authorities to check the server by; put them there as ca.crt or cacert, or into a credential %q",
			w.Name+apartSuffix)
	}
	if m.Roots, err = parseRoots(roots); err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	if lists != nil {
		if m.CRL, err = parseLists(lists); err != nil {
			return nil, fmt.Errorf("revocation lists: %w", err)
		}
	}
	return m, nil
}

// first gives the values of the first pair of keys of which the one that matters is
// there and not empty.
func first(content map[string][]byte, keys [][2]string) (one, other []byte) {
	for _, k := range keys {
		if len(content[k[0]]) > 0 {
			if other := content[k[1]]; len(other) > 0 {
				return content[k[0]], other
			}
			one = content[k[0]]
			break
		}
	}
	return one, nil
}

func parseRoots(data []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if err := whole(data); err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, errors.New("no certificate in it; it must be PEM")
	}
	return roots, nil
}

func parsePair(certificate, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}

// whole refuses PEM that ends in the middle of a block, as a file does that is being
// written.
func whole(data []byte) error {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		return errors.New("ends in the middle of a certificate")
	}
	return nil
}
