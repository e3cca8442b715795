package mesh

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) outlierDetection(path string, o *networking.OutlierDetection, endpoints string) {
	if o == nil {
		return
	}
	c.duration(path+".interval", o.Interval, false)
	c.duration(path+".baseEjectionTime", o.BaseEjectionTime, false)
	c.percent(path+".maxEjectionPercent", o.MaxEjectionPercent)
	c.percent(path+".minHealthPercent", o.MinHealthPercent)
	if most := compileOutlier(o).MaxPercent; most > 0 && most < 100 {
		c.add(Notice, path+".maxEjectionPercent", fmt.Sprint(most), "of fewer than %d %s none is ever ejected; write 100 where the last may be, and requests get 503 then", (99+most)/most, endpoints)
	}
	//lint:ignore SA1019 it is what is warned of
	if n := o.ConsecutiveErrors; n != 0 {
		c.warn(path+".consecutiveErrors", fmt.Sprint(n), "deprecated, and without effect; write consecutive5xxErrors or consecutiveGatewayErrors")
	}
	if n := o.GetConsecutiveLocalOriginFailures().GetValue(); n > 0 && !o.SplitExternalLocalOriginErrors {
		c.error(path+".consecutiveLocalOriginFailures", fmt.Sprint(n), "has no effect without splitExternalLocalOriginErrors; write splitExternalLocalOriginErrors: true beside it, or remove it")
	}
	for i, code := range o.OutlierDetectionHttpErrorCodes {
		if code < 100 || code > 599 {
			c.error(at(path+".outlierDetectionHttpErrorCodes", i), fmt.Sprint(code), "not an HTTP status; use 100 to 599")
		}
	}
}

func (c *checker) retryBudget(path string, b *networking.TrafficPolicy_RetryBudget) {
	if b.GetPercent() != nil {
		c.share(path+".percent", b.Percent)
	}
}
