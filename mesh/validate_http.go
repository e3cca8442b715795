package mesh

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) httpRoutes(routes []*networking.HTTPRoute) {
	catchAll := -1
	seen := make(map[string]string) // match, to its path
	matches := 0
	for _, route := range routes {
		matches += len(route.Match)
	}
	for i, route := range routes {
		path := at("spec.http", i)
		if catchAll >= 0 {
			c.warn(path, "", "is never reached: spec.http[%d] takes every request; put it before that one", catchAll)
		} else if takesAll(route) {
			catchAll = i
		}
		c.duration(path+".timeout", route.Timeout, true)
		for j, m := range route.Match {
			c.httpMatch(at(path+".match", j), m)
			if matches > 1 {
				c.sameMatch(seen, at(path+".match", j), m)
			}
		}
		c.httpRoute(path, route)
		c.retries(path+".retries", route)
		c.mirrors(path, route)
		c.corsPolicy(path+".corsPolicy", route.CorsPolicy)
	}
}

func takesAll(route *networking.HTTPRoute) bool {
	empty := func(m *networking.HTTPMatchRequest) bool {
		if m.Uri != nil && m.Uri.GetPrefix() != "/" || m.Method != nil || len(m.Headers) > 0 {
			return false // mostly; the rest is looked at with more effort
		}
		bare := proto.Clone(m).(*networking.HTTPMatchRequest)
		bare.Name, bare.StatPrefix, bare.IgnoreUriCase = "", "", false
		return proto.Size(bare) == 0 || proto.Equal(bare, &networking.HTTPMatchRequest{Uri: everyPath})
	}
	return len(route.Match) == 0 || slices.ContainsFunc(route.Match, empty)
}

var everyPath = &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: "/"}}

// sameMatch warns of a condition that an earlier rule has already.
func (c *checker) sameMatch(seen map[string]string, path string, m *networking.HTTPMatchRequest) {
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil || len(key) == 0 {
		return
	}
	if earlier, ok := seen[string(key)]; ok {
		c.warn(path, "", "is never reached: %s is the same; remove one", earlier)
		return
	}
	seen[string(key)] = path
}

func (c *checker) httpRoute(path string, route *networking.HTTPRoute) {
	if len(route.Route) == 0 && route.Redirect == nil && route.DirectResponse == nil && route.Delegate == nil {
		c.add(Notice, path+".route", "", "deprecated to leave out; the requests go to the VirtualService's own host; write a route with a destination")
	}
	c.answers(path, route)
	c.fault(path+".fault", route.Fault)
	c.rewrite(path+".rewrite", route.Rewrite)
	c.httpHeaders(path+".headers", route.Headers)
	c.authorityOnce(path, route)
	c.editedSize(path, route)
	weights := make([]int32, len(route.Route))
	for i, d := range route.Route {
		c.destination(at(path+".route", i), d.Destination)
		c.httpHeaders(at(path+".route", i)+".headers", d.Headers)
		weights[i] = d.Weight
	}
	c.weights(path+".route", weights)
}

func (c *checker) httpMatch(path string, m *networking.HTTPMatchRequest) {
	c.stringMatch(path+".uri", m.Uri)
	c.stringMatch(path+".scheme", m.Scheme)
	c.stringMatch(path+".method", m.Method)
	c.stringMatch(path+".authority", m.Authority)
	c.neverMatches(path, m)
	c.headerMatches(path+".headers", m.Headers)
	c.headerMatches(path+".withoutHeaders", m.WithoutHeaders)
	for name, match := range m.QueryParams {
		field := path + ".queryParams[" + name + "]"
		if name == "" {
			c.error(field, "", "a parameter without a name; give it one")
		}
		c.presence(field, match)
	}
	c.optionalPort(path+".port", m.Port)
	c.source(path, m.SourceNamespace, m.SourceLabels)
	c.matchGateways(path+".gateways", m.Gateways)
}

// neverMatches warns of paths and methods that no request has, which Istio accepts.
func (c *checker) neverMatches(path string, m *networking.HTTPMatchRequest) {
	for field, text := range map[string]string{".uri.exact": m.Uri.GetExact(), ".uri.prefix": m.Uri.GetPrefix()} {
		switch bare, _, query := strings.Cut(text, "?"); {
		case query:
			c.warn(path+field, text, "never matches: the path is compared without its query; write %s, and the query under queryParams", bare)
		case text != "" && text != "*" && text[0] != '/':
			c.warn(path+field, text, "never matches: every path begins with a slash; write /%s", text)
		}
	}
	if method := m.Method.GetExact(); method != strings.ToUpper(method) {
		c.warn(path+".method.exact", method, "never matches a usual request: methods are compared letter by letter; write %s", strings.ToUpper(method))
	}
}

// tokenClaims begins the names that stand for claims of a JWT, not for headers.
const tokenClaims = "@request.auth.claims"

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

func (c *checker) headerMatches(path string, matches map[string]*networking.StringMatch) {
	for name, match := range matches {
		field := path + "[" + name + "]"
		switch {
		case strings.HasPrefix(name, tokenClaims):
			c.error(field, "", "only a gateway that checks tokens knows their claims; match a header")
			continue
		case slices.Contains([]string{":authority", ":method", ":path", ":scheme"}, name):
			instead := strings.Replace(name[1:], "path", "uri", 1)
			c.error(field, "", "names beginning with a colon are HTTP/2's own; write %s, beside headers", instead)
		case !headerName.MatchString(name):
			c.error(field, "", "not a header name; write it without colon and spaces")
		}
		c.presence(field, match)
	}
}

// presence checks a match that may be empty: the field need only be there.
func (c *checker) presence(path string, m *networking.StringMatch) {
	if m.GetMatchType() != nil {
		c.stringMatch(path, m)
	}
}

func (c *checker) stringMatch(path string, m *networking.StringMatch) {
	if m == nil {
		return
	}
	switch match := m.MatchType.(type) {
	case nil:
		c.error(path, "", "is empty; write exact, prefix or regex")
	case *networking.StringMatch_Prefix:
		if match.Prefix == "" && !strings.HasSuffix(path, ".uri") {
			c.error(path+".prefix", "", "is empty; write the beginning of what should match")
		}
	case *networking.StringMatch_Regex:
		c.regex(path+".regex", match.Regex)
	}
}

func (c *checker) regex(path, expression string) {
	switch parsed, err := syntax.Parse(expression, syntax.Perl); {
	case expression == "":
		c.error(path, "", "is empty; write an RE2 expression")
	case len(expression) > 1024:
		c.error(path, expression, "longer than 1024 bytes; split it into several matches")
	case err != nil:
		c.error(path, expression, "not an RE2 expression (%s); correct it", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	default:
		c.bounded(path, expression, parsed)
	}
}
