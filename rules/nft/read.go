package nft

import "github.com/sluice-cni/sluice/rules"

// Applied is what a namespace's rules were made from.
type Applied = rules.Applied

// Read reads back what a namespace's rules were made from; false when there are none.
// A record that cannot be read, since it was changed or is of another version, is an
// error; the rules may be in force all the same.
func Read(netnsFD int) (Applied, bool, error) {
	r, found, err := recordOf(netnsFD)
	if err != nil || !found {
		return Applied{}, false, err
	}
	out, err := applied(r)
	return out, err == nil, err
}
