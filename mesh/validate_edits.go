package mesh

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// httpHeaders checks what a rule or one of its destinations does to heads. Istio
// lets more through: names that are none, and fields that say where a message ends.
func (c *checker) httpHeaders(path string, headers *networking.Headers) {
	c.headerOperations(path+".request", headers.GetRequest(), true)
	c.headerOperations(path+".response", headers.GetResponse(), false)
}

func (c *checker) headerOperations(path string, ops *networking.Headers_HeaderOperations, request bool) {
	if ops == nil {
		return
	}
	for operation, fields := range map[string]map[string]string{".set": ops.GetSet(), ".add": ops.GetAdd()} {
		set := make(map[string]string) // lower case, to what was written
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			field := path + operation + "[" + name + "]"
			lower := strings.ToLower(name)
			if other, twice := set[lower]; twice && operation == ".set" {
				c.warn(field, "", "is the same field as %s, in whose place it comes; write one of them", other)
			}
			set[lower] = name
			switch {
			case request && namesAuthority(name):
				c.authority(field, fields[name])
				continue
			case !request && lower == "server":
				c.warn(field, "", "has no effect: answers always say server: envoy; remove it")
			default:
				c.editedName(field, name)
			}
			c.headerValue(field, fields[name])
		}
	}
	for i, name := range ops.GetRemove() {
		field := at(path+".remove", i)
		if !request && strings.EqualFold(name, "server") {
			c.warn(field, name, "has no effect: answers always say server: envoy; remove it")
			continue
		}
		c.editedName(field, name)
	}
}

// framing are the fields that say where a message ends, or that are for one
// connection only: what a rule made of them would be read in two ways.
var framing = []string{
	"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// editedName checks the name of a field that is set, added or removed.
func (c *checker) editedName(path, name string) {
	switch lower := strings.ToLower(name); {
	case lower == "":
		c.error(path, "", "a header without a name; give it one")
	case namesAuthority(name):
		c.error(path, name, "every request has a host, and no answer has one; it can only be set, in request.set")
	case lower[0] == ':':
		c.error(path, name, "names beginning with a colon are HTTP/2's own; rewrite changes the path and the authority")
	case !headerName.MatchString(name):
		c.error(path, name, "not a header name; write it without colon and spaces")
	case slices.Contains(framing, lower):
		c.error(path, name, "says where a message ends or is for one connection only, which is the proxy's business; remove it")
	}
}

// headerValue checks a value in Envoy's form, in which a per cent sign begins an
// operator.
func (c *checker) headerValue(path, value string) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		c.error(path, value, "has a control character in it; write one line of text")
		return
	}
	if strings.Trim(value, " \t") == "" {
		c.warn(path, "", "has no effect, as in Istio: a header without a value is neither set nor added; use remove, or give it a value")
	}
	for rest := value; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return
		}
		if strings.HasPrefix(after, "%") {
			rest = after[1:]
			continue
		}
		operator, _, closed := strings.Cut(after, "%")
		if closed {
			c.error(path, "%"+operator+"%", "Envoy's operators are not followed; write the text itself, and %%%% for a per cent sign")
		} else {
			c.error(path, value, "a single %% begins one of Envoy's operators; write %%%% for a per cent sign")
		}
		return
	}
}

// authority checks a name that a server is to be told.
func (c *checker) authority(path, value string) {
	if !isAuthority(value) {
		c.error(path, value, "not a host; write a name or an address, with or without :port")
	}
}

var authorityForm = regexp.MustCompile(`^(?:[-.\w]+|\[([0-9a-fA-F:.]+)\])(?::(\d{1,5}))?$`)

// isAuthority takes what any server reads as one host, with or without a port.
func isAuthority(value string) bool {
	m := authorityForm.FindStringSubmatch(value)
	if m == nil || m[1] != "" && !isAddress(m[1]) {
		return false
	}
	port, err := strconv.ParseUint(m[2], 10, 16)
	return m[2] == "" || err == nil && port > 0
}

// authorityOnce says where a rule gives a server two names.
func (c *checker) authorityOnce(path string, route *networking.HTTPRoute) {
	var first string
	say := func(field string) {
		if first != "" {
			c.error(field, "", "%s sets the host already; keep one of them", first)
			return
		}
		first = field
	}
	if route.GetRewrite().GetAuthority() != "" {
		say(path + ".rewrite.authority")
	}
	operations := route.GetHeaders().GetRequest()
	for operation, fields := range [...]map[string]string{operations.GetSet(), operations.GetAdd()} {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if namesAuthority(name) {
				say(path + ".headers.request." + [...]string{"set", "add"}[operation] + "[" + name + "]")
			}
		}
	}
}
