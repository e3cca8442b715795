// Package cluster asks a Kubernetes API server for what discover reads: ServiceCIDR
// and Node objects, and what kubeadm left in kube-system. It reads a kubeconfig and
// speaks plain HTTPS; whatever the server says goes to discover as bytes.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover"
)

const (
	// answerTime bounds one question; all of them are short.
	answerTime = 15 * time.Second
	// answerBytes bounds one answer: a page of objects.
	answerBytes = 64 << 20
	pageSize    = 500
	mostPages   = 1000
)

// Client asks one API server.
type Client struct {
	base   *url.URL
	http   *http.Client
	header http.Header
}

// New reads how to reach the server of a context, the current one for "". Without
// a kubeconfig it is the server of the pod it runs in.
func New(ctx context.Context, kubeconfig, context string) (*Client, error) {
	s, u, err := inPod()
	if kubeconfig != "" {
		s, u, err = readKubeconfig(kubeconfig, context)
	}
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, s, u)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Server, err)
	}
	return c, nil
}

func connect(ctx context.Context, s server, u user) (*Client, error) {
	base, err := url.Parse(s.Server)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("not a URL of a server; it begins with https://")
	}
	if u, err = u.credential(ctx); err != nil {
		return nil, err
	}
	security, err := s.tls(u)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: security, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if s.ProxyURL != "" {
		through, err := url.Parse(s.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("proxy-url %q: not a URL", s.ProxyURL)
		}
		transport.Proxy = http.ProxyURL(through)
	}
	c := &Client{base: base, header: http.Header{"Accept": {"application/json"}, "User-Agent": {"sluice"}}}
	// A redirect would carry the credentials elsewhere.
	c.http = &http.Client{Transport: transport, Timeout: answerTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	switch {
	case u.Token != "":
		c.header.Set("Authorization", "Bearer "+u.Token)
	case u.Username != "":
		r := http.Request{Header: c.header}
		r.SetBasicAuth(u.Username, u.Password)
	}
	return c, nil
}

// Close ends the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// question is something that the server may know.
type question struct {
	path      string
	needed    bool   // a refusal is an error: without it ranges may be missing
	otherwise string // what its absence means
}

func questions() []question {
	return []question{
		{"/apis/networking.k8s.io/v1/servicecidrs", true, "the cluster has no ServiceCIDR objects (they came with Kubernetes 1.33)"},
		{"/api/v1/nodes", true, ""},
		{"/api/v1/namespaces/kube-system/configmaps/kubeadm-config", false, ""},
		{"/api/v1/namespaces/kube-system/pods?labelSelector=tier%3Dcontrol-plane", false, ""},
	}
}

// Findings asks for everything that may tell ranges. The notes say what the server
// does not have and a reader would miss.
func (c *Client) Findings(ctx context.Context) (found discover.Findings, notes []string, err error) {
	var errs []error
	for _, q := range questions() {
		pages, err := c.pages(ctx, q.path)
		var status statusError
		switch {
		case errors.As(err, &status) && (status.code == http.StatusNotFound || !q.needed):
			if q.otherwise != "" {
				notes = append(notes, q.otherwise)
			}
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		}
		for _, page := range pages {
			more, err := discover.Read(c.named(q.path), page)
			if err != nil && !errors.Is(err, discover.ErrUnknown) {
				errs = append(errs, err)
			}
			found = append(found, more...)
		}
	}
	for i := range found {
		found[i].Source.Line = 0 // of an answer that nobody sees
	}
	if len(errs) == 0 && len(found) == 0 {
		errs = append(errs, fmt.Errorf("server %s: %w", c.base, discover.ErrUnknown))
	}
	return found, notes, errors.Join(errs...)
}

func (c *Client) named(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return c.base.Host + path
}

// pages asks for a list, page by page, or for one object.
func (c *Client) pages(ctx context.Context, path string) ([][]byte, error) {
	var out [][]byte
	next := ""
	for range mostPages {
		page, err := c.get(ctx, path, next)
		if err != nil {
			return nil, err
		}
		out = append(out, page)
		var list struct{ Metadata struct{ Continue string } }
		if err := json.Unmarshal(page, &list); err != nil {
			return nil, fmt.Errorf("%s: its answer is no JSON: %w", c.named(path), err)
		}
		if next = list.Metadata.Continue; next == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%s: goes on for more than %d pages", c.named(path), mostPages)
}

func (c *Client) get(ctx context.Context, path, next string) ([]byte, error) {
	path, query, _ := strings.Cut(path, "?")
	target := c.base.JoinPath(path)
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	values.Set("limit", fmt.Sprint(pageSize))
	if next != "" {
		values.Set("continue", next)
	}
	target.RawQuery = values.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = c.header.Clone()
	resp, err := c.http.Do(req)
	if err != nil {
		var about *url.Error
		if errors.As(err, &about) {
			err = about.Err // its URL holds nothing but what follows
		}
		return nil, fmt.Errorf("%s: %w", c.named(path), err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, answerBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.named(path), err)
	case len(data) > answerBytes:
		return nil, fmt.Errorf("%s: its answer is larger than %d bytes", c.named(path), answerBytes)
	case resp.StatusCode != http.StatusOK:
		return nil, statusError{c.named(path), resp.StatusCode, message(data)}
	}
	return data, nil
}

// statusError is the server's refusal.
type statusError struct {
	path    string
	code    int
	message string
}

func (e statusError) Error() string {
	out := fmt.Sprintf("%s: %d %s", e.path, e.code, http.StatusText(e.code))
	if e.message != "" {
		out += ": " + e.message
	}
	switch e.code {
	case http.StatusUnauthorized:
		out += "; the credentials of the kubeconfig are not accepted"
	case http.StatusForbidden:
		out += "; the user needs the verb list on nodes and servicecidrs.networking.k8s.io"
	}
	return out
}

// message is that of the API's Status object.
func message(data []byte) string {
	var s struct{ Message string }
	if json.Unmarshal(data, &s) != nil {
		return ""
	}
	return s.Message
}
