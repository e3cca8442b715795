package nft

import "github.com/sluice-cni/sluice/rules"

// Refresh makes the namespace's rules fit the namespace again, with the
// configuration they were made from: an interface that came later gets its egress
// chain. No rules is success, and stays so. It is no heartbeat, and in node mode whoever
// is exempt stays so.
func Refresh(netnsFD int) error {
	r, found, err := recordOf(netnsFD)
	if err != nil || !found || r.Disabled {
		return err
	}
	was, err := applied(r)
	if err != nil {
		return err
	}
	plan, err := rules.NewPlan(was.Config, append(was.Options(), rules.Silent())...)
	if err != nil {
		return err
	}
	return Apply(netnsFD, plan)
}
