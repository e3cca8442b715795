package plugin

import (
	"context"
	"encoding/json"
	"os"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"golang.org/x/sys/unix"
)

// validAttachments is the list of what a runtime still has.
const validAttachments = "cni.dev/valid-attachments"

// attachment is one of that list.
type attachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// gc collects little: the plugin keeps no state outside the namespaces, those of pods
// that are alive are never touched, and what the node's holder keeps of the others it
// is told of here in case it has not noticed. An absent list is no empty list, so
// whoever sends none hears about it and nothing is done; one that cannot be read is an
// error.
func (v *verbs) gc(args *skel.CmdArgs) error {
	c := v.read(args)
	var object map[string]json.RawMessage
	if err := json.Unmarshal(args.StdinData, &object); err != nil {
		return badConf(err)
	}
	raw, given := object[validAttachments]
	if !given {
		v.logf("GC without %s: nothing is collected", validAttachments)
		return nil
	}
	var valid []attachment
	if err := json.Unmarshal(raw, &valid); err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "the configuration of sluice-cni cannot be used",
			validAttachments+`: not a list of {"containerID", "ifname"}: `+err.Error())
	}
	if c.AgentSocket != "" {
		v.collect(c, valid)
	}
	return nil
}

// collect releases the pods that are held, are not in the list, and whose namespace is
// not at its path any more. The list is one network's: a pod that is not in it may be
// another's, and alive.
func (v *verbs) collect(c conf, valid []attachment) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseLimit)
	defer cancel()
	status, err := client.Status(ctx, c.AgentSocket)
	if err != nil {
		v.logf("nothing is collected at the holder: %s", saidBy(err))
		return
	}
	for _, pod := range status.Pods {
		if slices.Contains(valid, attachment{pod.ContainerID, pod.Interface}) || pod.ContainerID == "" || !left(pod) {
			continue
		}
		v.logf("collected: container %q has no namespace %s at %q any more", pod.ContainerID, pod.Netns, pod.Path)
		v.release(c, &skel.CmdArgs{ContainerID: pod.ContainerID})
	}
}

// left reports whether the pod's namespace is gone from where it was.
func left(pod wire.PodStatus) bool {
	if pod.Path == "" {
		return false
	}
	var st unix.Stat_t
	err := unix.Stat(pod.Path, &st)
	if err != nil {
		return os.IsNotExist(err)
	}
	return pod.Netns != wire.Netns{Device: st.Dev, Inode: st.Ino}
}
