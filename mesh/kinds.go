package mesh

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
)

// The kinds that sluice follows.
const (
	ServiceEntry    = "ServiceEntry"
	VirtualService  = "VirtualService"
	DestinationRule = "DestinationRule"
	Sidecar         = "Sidecar"
)

// Kinds in the order in which they are shown.
var Kinds = []string{ServiceEntry, VirtualService, DestinationRule, Sidecar}

const group = "networking.istio.io"

// apiVersions share one shape.
var apiVersions = []string{group + "/v1", group + "/v1beta1", group + "/v1alpha3"}

var emptySpecs = map[string]func() proto.Message{
	ServiceEntry:    func() proto.Message { return new(networking.ServiceEntry) },
	VirtualService:  func() proto.Message { return new(networking.VirtualService) },
	DestinationRule: func() proto.Message { return new(networking.DestinationRule) },
	Sidecar:         func() proto.Message { return new(networking.Sidecar) },
}

// kindNames are the names people type, as kubectl and istioctl know them.
var kindNames = map[string]string{
	"serviceentry": ServiceEntry, "serviceentries": ServiceEntry, "se": ServiceEntry,
	"virtualservice": VirtualService, "virtualservices": VirtualService, "vs": VirtualService,
	"destinationrule": DestinationRule, "destinationrules": DestinationRule, "dr": DestinationRule,
	"sidecar": Sidecar, "sidecars": Sidecar,
}

// ParseKind understands a kind in any case, its plural, its short name and its
// full resource name (serviceentries.networking.istio.io).
func ParseKind(name string) (string, bool) {
	lower := strings.ToLower(name)
	plural, rest, _ := strings.Cut(lower, ".")
	if rest != "" && rest != group && !strings.HasSuffix(rest, "."+group) {
		return "", false
	}
	kind, ok := kindNames[plural]
	return kind, ok
}

// NearestKind guesses which kind a misspelt name means, "" when none is near.
func NearestKind(name string) string {
	return kindNames[nearest(name, slices.Sorted(maps.Keys(kindNames)))]
}

func suggestKind(name string) string {
	if kind := NearestKind(name); kind != "" {
		return "did you mean " + kind + "?"
	}
	return "use one of " + strings.Join(Kinds, ", ")
}
