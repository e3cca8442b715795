package mesh

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
)

// answers checks a rule that answers by itself, beside which nothing can be that is
// for servers.
func (c *checker) answers(path string, route *networking.HTTPRoute) {
	c.redirect(path, route)
	c.directResponse(path+".directResponse", route.DirectResponse)
	if route.Redirect != nil {
		c.alone(path, ".redirect", route, route.DirectResponse != nil)
	} else if route.DirectResponse != nil {
		c.alone(path, ".directResponse", route, false)
	}
}

func (c *checker) alone(path, answer string, route *networking.HTTPRoute, direct bool) {
	for _, other := range []struct {
		field string
		there bool
	}{
		{".route", len(route.Route) > 0}, {".fault", route.Fault != nil}, {".rewrite", route.Rewrite != nil}, {".directResponse", direct},
	} {
		if other.there {
			c.error(path+answer, "", "cannot be together with %s: the rule asks no server; keep one of them", other.field[1:])
		}
	}
}

// redirectCodes are those that lead elsewhere; Istio takes the other 3xx too, and then
// has no such rule.
var redirectCodes = []uint32{0, 301, 302, 303, 307, 308}

func (c *checker) redirect(path string, route *networking.HTTPRoute) {
	redirect := route.Redirect
	if redirect == nil {
		return
	}
	path += ".redirect"
	if redirect.Uri == "" && redirect.PrefixRewrite == "" && redirect.Authority == "" && redirect.Scheme == "" && redirect.RedirectPort == nil {
		c.error(path, "", "leads to where the request came from; write uri, prefixRewrite, authority, scheme or port")
	}
	if redirect.Uri != "" && redirect.PrefixRewrite != "" {
		c.error(path+".uri", "", "cannot be together with prefixRewrite; keep one of them")
	}
	c.pathText(path+".uri", redirect.Uri)
	c.pathText(path+".prefixRewrite", redirect.PrefixRewrite)
	if redirect.PrefixRewrite != "" {
		c.prefixMatches(path+".prefixRewrite", route.Match)
	}
	if redirect.Authority != "" {
		c.authority(path+".authority", redirect.Authority)
	}
	if s := redirect.Scheme; s != "" && s != "http" && s != "https" {
		c.error(path+".scheme", s, "not a scheme that leads anywhere; use http or https")
	}
	if code := redirect.RedirectCode; !slices.Contains(redirectCodes, code) {
		c.error(path+".redirectCode", fmt.Sprint(code), "not a redirect; use 301, 302, 303, 307 or 308")
	}
	c.optionalPort(path+".port", redirect.GetPort())
}

// prefixMatches wants a prefix to be there that can be replaced.
func (c *checker) prefixMatches(path string, matches []*networking.HTTPMatchRequest) {
	for i, m := range matches {
		switch m.GetUri().GetMatchType().(type) {
		case *networking.StringMatch_Exact, *networking.StringMatch_Regex:
			c.error(path, "", "replaces a prefix, and match[%d].uri is none; write a prefix there, or use uri", i)
			return
		}
	}
}

// Bounds of a direct response's body, in bytes.
const (
	largeBody = 100 << 10
	maxBody   = 1 << 20
)

func (c *checker) directResponse(path string, direct *networking.HTTPDirectResponse) {
	if direct == nil {
		return
	}
	c.httpStatus(path+".status", int64(direct.Status))
	switch size := len(bodyOf(direct.Body)); {
	case size > maxBody:
		c.error(path+".body", "", "larger than 1 MiB; let a server answer")
	case size > largeBody:
		c.warn(path+".body", "", "larger than 100 KiB; a server answers with such a body more cheaply")
	}
}

// httpStatus checks the status of an answer. Istio lets 600 pass.
func (c *checker) httpStatus(path string, status int64) {
	if status < 200 || status > 600 {
		c.error(path, fmt.Sprint(status), "not the status of an answer; use 200 to 599")
	}
}
