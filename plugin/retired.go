package plugin

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// retire makes the verbs those of a plugin that `sluice uninstall` left behind: ADD
// passes on the result of the plugin before it, whatever else the configuration
// says, and the others succeed. A runtime may call it from a configuration that it
// keeps in a cache, long after the entry is gone.
func (v *verbs) retire() skel.CNIFuncs {
	nothing := v.once(func(*skel.CmdArgs) error { return nil })
	return skel.CNIFuncs{Add: v.once(v.passOn), Check: nothing, Del: nothing, GC: nothing, Status: nothing}
}

func (v *verbs) passOn(args *skel.CmdArgs) (err error) {
	c := readConf(args)
	if err := c.needPrevResult(); err != nil {
		return err
	}
	if v.result, err = c.result(); err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult cannot be passed on", err.Error())
	}
	v.logf("%s passes through untouched: sluice was uninstalled from this node; remove the entry of type sluice-cni from the network configuration", c.pod)
	return nil
}
