package nft

import "strings"

// Present reports whether the namespace has tables of ours.
func Present(netnsFD int) (bool, error) {
	c, err := open(netnsFD)
	if err != nil {
		return false, err
	}
	defer closeLater(c)
	tables, err := installed(c)
	return tables[0] != nil || tables[1] != nil, err
}

// HasChains reports whether any table of the namespace has chains whose names begin
// so: iptables-nft keeps its chains there.
func HasChains(netnsFD int, prefix string) (bool, error) {
	c, err := open(netnsFD)
	if err != nil {
		return false, err
	}
	defer closeLater(c)
	chains, err := c.ListChains()
	if err != nil {
		return false, explain("list the nftables chains", err)
	}
	for _, chain := range chains {
		if strings.HasPrefix(chain.Name, prefix) {
			return true, nil
		}
	}
	return false, nil
}
