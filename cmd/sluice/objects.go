package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
)

// objects reads the objects that a command line names: KIND[,KIND...] NAME..., or any number
// of KIND/NAME, with a namespace KIND.NAMESPACE/NAME, as `get -o name` prints them. namespace
// is that of objects which name none.
func objects(namespace string, args []string) ([]mesh.Identity, error) {
	slash := func(s string) bool { return strings.Contains(s, "/") }
	if slices.ContainsFunc(args, slash) {
		return references(namespace, args)
	}
	kinds, err := parseKinds(args[0])
	if err != nil {
		return nil, err
	}
	var out []mesh.Identity
	for _, kind := range kinds {
		for _, name := range args[1:] {
			if !nameable(name) {
				return nil, usage(fmt.Errorf("name %q: no object can have it", name), "write either KIND NAME... or KIND/NAME for each")
			}
			out = append(out, mesh.Identity{Kind: kind, Namespace: namespace, Name: name})
		}
	}
	return out, nil
}

// parseKinds reads kinds with commas between them, as kubectl does.
func parseKinds(names string) (kinds []string, err error) {
	for name := range strings.SplitSeq(names, ",") {
		kind, err := parseKind(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// nameable says whether a request to an API server can name an object so: as a part of a path.
func nameable(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/%")
}

func references(namespace string, args []string) ([]mesh.Identity, error) {
	var out []mesh.Identity
	for _, arg := range args {
		id, ok, err := parseReference(namespace, arg)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, usage(fmt.Errorf("%q: neither KIND/NAME nor KIND.NAMESPACE/NAME", arg), "write either KIND NAME... or KIND/NAME for each")
		}
		out = append(out, id)
	}
	return out, nil
}

// reference is how `get -o name` prints an object.
func reference(id mesh.Identity) string {
	return strings.ToLower(id.Kind) + "." + id.Namespace + "/" + id.Name
}

func parseReference(namespace, text string) (id mesh.Identity, ok bool, err error) {
	before, name, found := strings.Cut(text, "/")
	if !found || !nameable(name) {
		return id, false, nil
	}
	if kind, ok := mesh.ParseKind(before); ok { // serviceentry.networking.istio.io too
		return mesh.Identity{Kind: kind, Namespace: namespace, Name: name}, true, nil
	}
	written, ns, qualified := strings.Cut(before, ".")
	kind, err := parseKind(written)
	if err != nil {
		return id, false, err
	}
	return mesh.Identity{Kind: kind, Namespace: ns, Name: name}, qualified && mesh.NamespaceComplaint(ns) == "", nil
}

func parseKind(name string) (string, error) {
	if kind, ok := mesh.ParseKind(name); ok {
		return kind, nil
	}
	hint := "use serviceentry (se), virtualservice (vs), destinationrule (dr) or sidecar"
	if near := mesh.NearestKind(name); near != "" {
		hint = "did you mean " + near + "?"
	}
	return "", usage(fmt.Errorf("kind %q: not a kind that sluice follows", name), hint)
}
