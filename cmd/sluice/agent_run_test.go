package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/handover"
)

// A second signal closes the sockets that are served. Nobody has to look into that.
func TestASecondSignalIsNoFailure(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	s, err := handover.Listen(filepath.Join(t.TempDir(), handover.SocketName), log)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Serve(context.Background(), http.NotFoundHandler()) }()
	s.Remove()
	sayFailed(log, "the admin socket", <-ended)
	if said.Len() > 0 {
		t.Errorf("said: %s", said.String())
	}
	sayFailed(log, "the admin socket", errors.New("accept: too many open files"))
	if !strings.Contains(said.String(), "level=ERROR") {
		t.Errorf("said: %s", said.String())
	}
}
