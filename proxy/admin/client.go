package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Client asks the proxy at a socket.
type Client struct {
	Path string // of the socket
	// Beneath goes before every question's path: where one of many proxies is asked,
	// such as an agent's /v1/pods/NAMESPACE/NAME.
	Beneath string
}

// askTimeout bounds a question, the answer's last byte included.
const askTimeout = 30 * time.Second

// Ask puts the answer at a path into out.
func (c Client) Ask(ctx context.Context, path string, q Question, out any) error {
	values := url.Values{}
	if q.Host != "" {
		values.Set("host", q.Host)
	}
	if q.Port != 0 {
		values.Set("port", strconv.Itoa(int(q.Port)))
	}
	if q.Limit != 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://proxy"+c.Beneath+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	return c.do(request, out)
}

// Explain puts an inquiry to the proxy.
func (c Client) Explain(ctx context.Context, i Inquiry) (*Explanation, error) {
	body, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://proxy"+c.Beneath+ExplainPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var out Explanation
	if err := c.do(request, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

func (c Client) do(request *http.Request, out any) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Path)
	}}
	response, err := (&http.Client{Transport: transport, Timeout: askTimeout}).Do(request)
	if err != nil {
		return c.unreached(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		if c.Beneath != "" && response.StatusCode == http.StatusNotFound { // who is asked for it knows no such proxy
			return fmt.Errorf("%s: %s", c.Path, strings.TrimSpace(string(text)))
		}
		return fmt.Errorf("%s: the proxy answers %s: %s", c.Path, response.Status, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("%s: the answer cannot be read: %w; is it a sluice of this version?", c.Path, err)
	}
	return nil
}

// unreached says why nobody answers.
func (c Client) unreached(err error) error {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%s: the proxy that made this socket has ended", c.Path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such socket", c.Path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: is another user's; ask as that user, or as root", c.Path)
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return fmt.Errorf("%s: closed without an answer; a proxy answers its own user and root", c.Path)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s: %w", c.Path, err)
}

// Running finds the sockets in dirs at which somebody listens.
func Running(dirs []string) (paths []string) {
	for _, dir := range dirs {
		if checkPrivate(dir) != nil {
			continue
		}
		for _, path := range sockets(dir) {
			if probe(path) == nil {
				paths = append(paths, path)
			}
		}
	}
	return paths
}
