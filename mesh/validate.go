package mesh

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
)

// validate says what is wrong with one resource by itself. What depends on other
// resources is found by Build.
func validate(r *Resource) Issues {
	c := &checker{r: r}
	switch spec := r.Spec.(type) {
	case *networking.ServiceEntry:
		c.serviceEntry(spec)
	case *networking.VirtualService:
		c.virtualService(spec)
	case *networking.DestinationRule:
		c.destinationRule(spec)
	case *networking.Sidecar:
		c.sidecar(spec)
	}
	c.support()
	return c.issues
}

// checker collects what is said about one resource.
type checker struct {
	r      *Resource
	issues Issues
	// Of what is bounded for the resource as a whole, what there was so far.
	expressions, edits int
}

func (c *checker) add(s Severity, field, value, format string, args ...any) {
	c.issues = append(c.issues, c.r.Issue(s, field, shorten(value), fmt.Sprintf(format, args...)))
}

func (c *checker) error(field, value, format string, args ...any) {
	c.add(Error, field, value, format, args...)
}

func (c *checker) warn(field, value, format string, args ...any) {
	c.add(Warning, field, value, format, args...)
}

// at is the path of a list's item.
func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// exportTo checks the namespaces that a resource is shown to. Only a ServiceEntry
// may be hidden from everybody ("~").
func (c *checker) exportTo(list []string, mayHide bool) {
	first := make(map[string]int)
	for i, to := range list {
		path := at("spec.exportTo", i)
		earlier, twice := first[to]
		switch {
		case twice:
			c.error(path, to, "is there already, at spec.exportTo[%d]; remove one", earlier)
		case to == "~" && !mayHide:
			c.error(path, to, "only a ServiceEntry can be hidden from every namespace; use *, . or namespaces")
		case (to == "*" || to == "~") && len(list) > 1:
			c.error(path, to, "says it all; remove the others or this one")
		case to != "*" && to != "." && to != "~" && !isNamespace(to):
			c.error(path, to, "not a namespace; use *, . or the name of one")
		}
		if !twice {
			first[to] = i
		}
	}
}

func isNamespace(name string) bool {
	return len(name) <= 63 && isHostLabel(name) && name == strings.ToLower(name)
}

// NamespaceComplaint says what is wrong with the name of a namespace, "" when
// nothing is.
func NamespaceComplaint(name string) string {
	if isNamespace(name) {
		return ""
	}
	return "not a namespace; use at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
}

// port checks a port number that must be there.
func (c *checker) port(path string, number uint32) {
	switch {
	case number == 0 && !c.r.has(path):
		c.error(path, "", "is missing; use 1 to 65535")
	case number == 0 || number > 65535:
		c.error(path, fmt.Sprint(number), "not a port; use 1 to 65535")
	}
}

// optionalPort checks one that may be left out.
func (c *checker) optionalPort(path string, number uint32) {
	if c.r.has(path) {
		c.port(path, number)
	}
}

// duration checks what Istio asks of every duration: whole milliseconds, at least
// one; zero where that switches something off.
func (c *checker) duration(path string, d *durationpb.Duration, mayBeZero bool) {
	if d == nil {
		return
	}
	value := d.AsDuration()
	switch {
	case value == 0 && mayBeZero:
	case value < time.Millisecond:
		c.error(path, value.String(), "shorter than a millisecond; use 1ms or more")
	case value%time.Millisecond != 0:
		c.error(path, value.String(), "not whole milliseconds; use %s", value.Round(time.Millisecond))
	}
}

// labels checks a selector.
func (c *checker) labels(path string, labels map[string]string) {
	for name, value := range labels {
		field := path + "[" + name + "]"
		if strings.Contains(name, "*") || strings.Contains(value, "*") {
			c.error(field, value, "labels are compared to the letter; write them without *")
		}
		if name == "" {
			c.error(field, value, "a label without a name; give it one")
		}
	}
}
