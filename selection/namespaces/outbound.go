package namespaces

import (
	"errors"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection"
)

// Outbound is what a cluster says becomes of traffic of a namespace's pods for which nothing
// is registered, and which of its objects says so; "" is neither, or what files of a node
// say. An object is nil where there is none. With an error it is what can be read of them.
func Outbound(namespace string, of, configMap *kubeapi.Object) (value string, by *kubeapi.Object, err error) {
	theirs := &selection.Policy{}
	own := selection.NamespacePolicy{}
	if configMap != nil {
		p, bad := compile(*configMap)
		if err = bad; p != nil {
			theirs = p
		}
	}
	if of != nil {
		read, _, bad := read(*of, own)
		own, err = read, errors.Join(err, bad)
	}
	p := selection.Merge(theirs, &selection.Policy{Namespaces: map[string]selection.NamespacePolicy{namespace: own}})
	switch value = p.Outbound(namespace); {
	case value == "":
		return "", nil, err
	case own.OutboundPolicy == value && theirs.Namespaces[namespace].OutboundPolicy == "":
		return value, of, err
	}
	return value, configMap, err
}
