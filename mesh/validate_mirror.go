package mesh

import (
	"fmt"
	"regexp"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// mirrors checks the copies of requests that a route asks for.
func (c *checker) mirrors(path string, route *networking.HTTPRoute) {
	if route.Mirror != nil {
		c.host(path+".mirror.host", route.Mirror.Host)
		if len(route.Mirrors) > 0 {
			c.error(path+".mirror", "", "cannot be together with mirrors; write it as one of them")
		}
	}
	for i, m := range route.Mirrors {
		item := at(path+".mirrors", i)
		c.host(item+".destination.host", m.GetDestination().GetHost())
		c.share(item+".percentage.value", m.GetPercentage())
	}
	c.share(path+".mirrorPercentage.value", route.MirrorPercentage)
	//lint:ignore SA1019 it is accepted as long as Istio accepts it
	if old := route.MirrorPercent; old != nil && old.Value > 100 {
		c.error(path+".mirrorPercent", fmt.Sprint(old.Value), "not a percentage; use 0 to 100")
	}
}

// host checks a host that must be there.
func (c *checker) host(path, host string) {
	switch host {
	case "":
		c.error(path, "", "is missing; name the host to send to")
	case "*":
		c.error(path, host, "every host is no destination; name one")
	default:
		c.hostName(path, host)
	}
}

var methodName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Z]+$")

func (c *checker) corsPolicy(path string, cors *networking.CorsPolicy) {
	if cors == nil {
		return
	}
	for i, origin := range cors.AllowOrigins {
		c.stringMatch(at(path+".allowOrigins", i), origin)
	}
	for i, method := range cors.AllowMethods {
		if !methodName.MatchString(method) {
			c.error(at(path+".allowMethods", i), method, "not a method; write one like GET or *")
		}
	}
	if d := cors.MaxAge; d != nil && (d.AsDuration() < 0 || d.AsDuration()%time.Second != 0) {
		c.error(path+".maxAge", d.AsDuration().String(), "not whole seconds; write one like 600s")
	}
}
