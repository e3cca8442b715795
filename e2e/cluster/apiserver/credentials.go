package apiserver

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// keys makes the pair that service accounts' tokens are signed with.
func (s *Server) keys() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(s.PrivateKeyFile(), private, 0o600); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return os.WriteFile(s.PublicKeyFile(), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

// PrivateKeyFile and PublicKeyFile sign and check service accounts' tokens.
func (s *Server) PrivateKeyFile() string { return filepath.Join(s.dir, "service-accounts.key") }

// PublicKeyFile is the other half of PrivateKeyFile.
func (s *Server) PublicKeyFile() string { return filepath.Join(s.dir, "service-accounts.pub") }

func (s *Server) certificates() string { return filepath.Join(s.dir, "certificates") }

// CAFile is the API server's own certificate, which it has signed itself.
func (s *Server) CAFile() string { return filepath.Join(s.certificates(), "apiserver.crt") }

func token(user string) string { return user + "-token" }

// tokens writes the file of users: token, name, uid and groups.
func (s *Server) tokens(users []string) error {
	file := fmt.Sprintf("%s,%s,0,\"system:masters\"\n", token(Admin), Admin)
	for i, u := range users {
		name, groups, _ := strings.Cut(u, " ")
		file += fmt.Sprintf("%s,%s,%d,%q\n", token(name), name, i+1, groups)
	}
	return os.WriteFile(filepath.Join(s.dir, "tokens.csv"), []byte(file), 0o600)
}

func (s *Server) kubeconfigs(users []string) error {
	for _, u := range append([]string{Admin}, users...) {
		name, _, _ := strings.Cut(u, " ")
		config, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Config", "current-context": "test",
			"clusters": []any{map[string]any{"name": "test", "cluster": map[string]any{"server": "https://" + s.address, "certificate-authority": s.CAFile()}}},
			"users":    []any{map[string]any{"name": name, "user": map[string]any{"token": token(name)}}},
			"contexts": []any{map[string]any{"name": "test", "context": map[string]any{"cluster": "test", "user": name}}},
		})
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.KubeconfigOf(name), config, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// KubeconfigOf is the kubeconfig of a user, by the part of the name in Options.Users that
// comes before the groups.
func (s *Server) KubeconfigOf(user string) string {
	return filepath.Join(s.dir, strings.ReplaceAll(user, ":", "-")+".kubeconfig")
}

// Kubeconfig is Admin's.
func (s *Server) Kubeconfig() string { return s.KubeconfigOf(Admin) }
