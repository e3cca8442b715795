package plugin

import (
	"encoding/json"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// validAttachments is the list of what a runtime still has.
const validAttachments = "cni.dev/valid-attachments"

// gc has nothing to collect: the plugin keeps no state outside the namespaces, and
// those of pods that are alive are never touched. An absent list is no empty list,
// so whoever sends none hears about it and nothing is done; one that cannot be
// read is an error.
func (v *verbs) gc(args *skel.CmdArgs) error {
	v.read(args)
	var object map[string]json.RawMessage
	if err := json.Unmarshal(args.StdinData, &object); err != nil {
		return badConf(err)
	}
	raw, given := object[validAttachments]
	if !given {
		v.logf("GC without %s: nothing is collected", validAttachments)
		return nil
	}
	var list []struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "the configuration of sluice-cni cannot be used",
			validAttachments+`: not a list of {"containerID", "ifname"}: `+err.Error())
	}
	return nil
}
