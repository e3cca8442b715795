package cluster

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// kubeconfig is the part of a kubeconfig file that says how to reach a server and
// who asks.
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
	Clusters []struct {
		Name    string
		Cluster server
	}
	Users []struct {
		Name string
		User user
	}
}

type server struct {
	Server     string
	CA         string `yaml:"certificate-authority"`
	CAData     string `yaml:"certificate-authority-data"`
	ServerName string `yaml:"tls-server-name"`
	Insecure   bool   `yaml:"insecure-skip-tls-verify"`
	ProxyURL   string `yaml:"proxy-url"`
}

type user struct {
	Certificate     string `yaml:"client-certificate"`
	CertificateData string `yaml:"client-certificate-data"`
	Key             string `yaml:"client-key"`
	KeyData         string `yaml:"client-key-data"`
	Token           string
	TokenFile       string `yaml:"tokenFile"`
	Username        string
	Password        string
	Exec            *execPlugin
	AuthProvider    any `yaml:"auth-provider"`
}

// FindKubeconfig is the file that kubectl would read: the first of $KUBECONFIG that
// exists, else ~/.kube/config. Without one it is "", which New takes for the
// service account of the pod it runs in.
func FindKubeconfig() string {
	candidates := filepath.SplitList(os.Getenv("KUBECONFIG"))
	if home, err := os.UserHomeDir(); err == nil && len(candidates) == 0 {
		candidates = []string{filepath.Join(home, ".kube", "config")}
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// readKubeconfig picks the server and the user of a context, the current one for "".
func readKubeconfig(path, context string) (server, user, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return server{}, user{}, fmt.Errorf("kubeconfig %q: cannot be read: %w", path, reason(err))
	}
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return server{}, user{}, fmt.Errorf("kubeconfig %q: %w", path, err)
	}
	s, u, err := k.choose(context)
	if err != nil {
		return server{}, user{}, fmt.Errorf("kubeconfig %q: %w", path, err)
	}
	dir := filepath.Dir(path) // what its paths are relative to
	for _, p := range []*string{&s.CA, &u.Certificate, &u.Key, &u.TokenFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	if u.Exec != nil && strings.Contains(u.Exec.Command, "/") && !filepath.IsAbs(u.Exec.Command) {
		u.Exec.Command = filepath.Join(dir, u.Exec.Command)
	}
	return s, u, nil
}

func (k kubeconfig) choose(context string) (server, user, error) {
	name := cmp.Or(context, k.CurrentContext)
	if name == "" {
		return server{}, user{}, errors.New("has no current-context; choose one with --context")
	}
	for _, c := range k.Contexts {
		if c.Name != name {
			continue
		}
		for _, s := range k.Clusters {
			if s.Name == c.Context.Cluster && s.Cluster.Server != "" {
				return s.Cluster, k.user(c.Context.User), nil
			}
		}
		return server{}, user{}, fmt.Errorf("context %q: its cluster %q has no server", name, c.Context.Cluster)
	}
	return server{}, user{}, fmt.Errorf("context %q: there is none of that name", name)
}

// user is nobody where the context names none.
func (k kubeconfig) user(name string) user {
	for _, u := range k.Users {
		if u.Name == name {
			return u.User
		}
	}
	return user{}
}

// tls says whom to trust and who we are.
func (s server) tls(u user) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName, InsecureSkipVerify: s.Insecure}
	ca, err := content("certificate-authority", s.CA, s.CAData)
	if err != nil {
		return nil, err
	}
	if ca != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("certificate-authority: holds no certificate")
		}
	}
	cert, err1 := content("client-certificate", u.Certificate, u.CertificateData)
	key, err2 := content("client-key", u.Key, u.KeyData)
	if err := errors.Join(err1, err2); err != nil || cert == nil {
		return c, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("client-certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// content is what stands in the kubeconfig, else in the file it names, else nil.
func content(name, path, data string) ([]byte, error) {
	switch {
	case data != "":
		out, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("%s-data: not base64", name)
		}
		return out, nil
	case path != "":
		out, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s %q: cannot be read: %w", name, path, reason(err))
		}
		return out, nil
	}
	return nil, nil
}

// reason is an error without the path that its message already holds.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
