package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// execPlugin is a program that gives out credentials, the way clouds' kubeconfigs
// name one (client.authentication.k8s.io).
type execPlugin struct {
	APIVersion  string `yaml:"apiVersion"`
	Command     string
	Args        []string
	Env         []struct{ Name, Value string }
	InstallHint string `yaml:"installHint"`
}

// credential completes what the kubeconfig says about the user.
func (u user) credential(ctx context.Context) (user, error) {
	switch {
	case u.Exec != nil:
		return u.byProgram(ctx)
	case u.AuthProvider != nil:
		return u, errors.New("auth-provider: was removed from Kubernetes; use an exec plugin, a token or a certificate")
	case u.Token == "" && u.TokenFile != "":
		data, err := os.ReadFile(u.TokenFile)
		if err != nil {
			return u, fmt.Errorf("tokenFile %q: cannot be read: %w", u.TokenFile, reason(err))
		}
		u.Token = strings.TrimSpace(string(data))
	}
	return u, nil
}

func (u user) byProgram(ctx context.Context) (user, error) {
	p := u.Exec
	info, err := json.Marshal(map[string]any{"apiVersion": p.APIVersion, "kind": "ExecCredential", "spec": map[string]any{"interactive": false}})
	if err != nil {
		return u, err
	}
	cmd := exec.CommandContext(ctx, p.Command, p.Args...)
	cmd.Env = append(os.Environ(), "KUBERNETES_EXEC_INFO="+string(info))
	for _, e := range p.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return u, fmt.Errorf("exec %q: %w; %s", p.Command, err, strings.TrimSpace(complaint.String()+" "+p.InstallHint))
	}
	var answer struct {
		Status struct{ Token, ClientCertificateData, ClientKeyData string }
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return u, fmt.Errorf("exec %q: its answer is no ExecCredential: %w", p.Command, err)
	}
	u.Token = answer.Status.Token
	return u.withPEM(answer.Status.ClientCertificateData, answer.Status.ClientKeyData), nil
}
