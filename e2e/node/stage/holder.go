package stage

import (
	"context"
	"path/filepath"
	"time"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
)

// HolderStatus asks the holder, which must answer at once.
func (n *Node) HolderStatus() (wire.HolderStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return client.Status(ctx, filepath.Join(n.RunDir, "holder.sock"))
}
