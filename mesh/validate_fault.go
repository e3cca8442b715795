package mesh

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) fault(path string, fault *networking.HTTPFaultInjection) {
	if fault == nil {
		return
	}
	if fault.Delay == nil && fault.Abort == nil {
		c.error(path, "", "is empty; write delay or abort")
	}
	c.delayFault(path+".delay", fault.Delay)
	c.abortFault(path+".abort", fault.Abort)
}

func (c *checker) delayFault(path string, delay *networking.HTTPFaultInjection_Delay) {
	if delay == nil {
		return
	}
	//lint:ignore SA1019 it is followed as long as Istio follows it
	old := delay.Percent
	switch {
	case old < 0 || old > 100:
		c.error(path+".percent", fmt.Sprint(old), "not a percentage; use 0 to 100")
	case c.r.has(path + ".percent"):
		c.add(Notice, path+".percent", "", "is deprecated; write percentage: {value: %d}", old)
	}
	switch fixed := delay.GetFixedDelay(); {
	case fixed != nil:
		c.duration(path+".fixedDelay", fixed, false)
		c.faultShare(path, delay.Percentage, "held back", c.r.has(path+".percent"))
	case delay.HttpDelayType == nil:
		c.warn(path, "", "has no fixedDelay, so it has no effect; write one like fixedDelay: 2s")
	}
}

func (c *checker) abortFault(path string, abort *networking.HTTPFaultInjection_Abort) {
	if abort == nil {
		return
	}
	switch kind := abort.ErrorType.(type) {
	case *networking.HTTPFaultInjection_Abort_HttpStatus:
		c.httpStatus(path+".httpStatus", int64(kind.HttpStatus))
	case *networking.HTTPFaultInjection_Abort_GrpcStatus:
		if grpcCode(kind.GrpcStatus) < 0 {
			advice := "use one of " + strings.Join(grpcStatuses, ", ")
			if near := nearest(strings.ToUpper(kind.GrpcStatus), grpcStatuses); near != "" {
				advice = "did you mean " + near + "?"
			}
			c.error(path+".grpcStatus", kind.GrpcStatus, "not a status of gRPC; %s", advice)
		}
	case nil:
		c.warn(path, "", "has no status, so it has no effect; write httpStatus or grpcStatus")
		return
	default:
		return
	}
	c.faultShare(path, abort.Percentage, "answered so", false)
}

// faultShare checks how many requests a fault is for. Where that is not said, Istio's
// reference once said all and its proxies do it to none.
func (c *checker) faultShare(path string, p *networking.Percent, what string, said bool) {
	switch v := p.GetValue(); {
	case p == nil && !said:
		c.add(Notice, path, "", "has no percentage, so every request is %s, where Istio leaves all alone; write percentage: {value: 100}, or how many it is for", what)
	case v > 0 && v < 100./Million:
		c.error(path+".percentage.value", fmt.Sprint(v), "less than one request in a million; use 0.0001 or more")
	default:
		c.share(path+".percentage.value", p)
	}
}
