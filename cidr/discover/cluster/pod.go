package cluster

import (
	"encoding/base64"
	"errors"
	"net"
	"os"
	"path/filepath"
)

// serviceAccount is where every pod finds its own credentials.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// inPod is the server and the user of the pod this runs in.
func inPod() (server, user, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return server{}, user{}, errors.New("no kubeconfig, and this is no pod; name one with --kubeconfig")
	}
	return server{Server: "https://" + net.JoinHostPort(host, port), CA: filepath.Join(serviceAccount, "ca.crt")},
		user{TokenFile: filepath.Join(serviceAccount, "token")}, nil
}

// withPEM puts a certificate that a program gave out in the place of the kubeconfig's.
func (u user) withPEM(certificate, key string) user {
	if certificate != "" {
		u.CertificateData = base64.StdEncoding.EncodeToString([]byte(certificate))
		u.KeyData = base64.StdEncoding.EncodeToString([]byte(key))
	}
	return u
}
