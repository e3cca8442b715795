package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/sluice-cni/sluice/agent/cri/unary"
)

// Client asks one runtime. Its methods may be used at the same time; every call ends
// with its context. A runtime that was restarted is found again by the next call.
type Client struct {
	socket string
	calls  *unary.Client

	mu     sync.Mutex
	known  map[string]Sandbox // by ID, of the last Sandboxes
	failed map[string]int     // 1 for each that it was not told of
}

// New is a client of the runtime that listens on the unix socket at path, with or
// without unix:// before it. Nothing is connected until the first call.
func New(path string) *Client {
	c := unary.New(path)
	return &Client{socket: path, calls: c}
}

// Close ends the connection.
func (c *Client) Close() { c.calls.Close() }

func (c *Client) call(ctx context.Context, method string, request []byte) ([]byte, error) {
	answer, err := c.calls.Call(ctx, "runtime.v1.RuntimeService/"+method, request)
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	return answer, nil
}

// Version is the runtime's name and version, as in containerd and 2.4.2.
func (c *Client) Version(ctx context.Context) (runtime, version string, err error) {
	answer, err := c.call(ctx, "Version", nil)
	if err != nil {
		return "", "", err
	}
	err = unary.Fields(answer, func(f unary.Field) error {
		switch f.Number {
		case 2:
			runtime = string(f.Bytes)
		case 3:
			version = string(f.Bytes)
		}
		return nil
	})
	return runtime, version, err
}

// NetworkConfig is what the runtime says about the CNI configuration it has loaded:
// JSON, of containerd its PluginDirs and Networks with each list's plugins. nil where
// the runtime does not say (CRI-O).
func (c *Client) NetworkConfig(ctx context.Context) ([]byte, error) {
	answer, err := c.call(ctx, "Status", unary.Number(1, 1)) // verbose
	if err != nil {
		return nil, err
	}
	info, err := infoOf(answer)
	if err != nil {
		return nil, err
	}
	if config := []byte(info["cniconfig"]); json.Valid(config) {
		return config, nil
	}
	return nil, nil
}

// infoOf is the map that verbose answers carry beside what CRI defines. Its contents
// are the runtime's own. Status and PodSandboxStatus both have it as field 2.
func infoOf(answer []byte) (info map[string]string, err error) {
	err = unary.Fields(answer, func(f unary.Field) error {
		if f.Number == 2 {
			return unary.Entry(f.Bytes, &info)
		}
		return nil
	})
	return info, err
}
