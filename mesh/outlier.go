package mesh

import (
	"slices"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// Outlier is DestinationRule outlierDetection: an endpoint with so many failures in a
// row is ejected, left out for a time that is longer each time.
type Outlier struct {
	// Consecutive5xx is how many failures eject (consecutive5xxErrors, default 5);
	// 0: none do. Failed connections, resets and timeouts count unless Split.
	Consecutive5xx uint32
	// ConsecutiveGateway is the same for 502, 503 and 504 alone
	// (consecutiveGatewayErrors); 0, the default: none do.
	ConsecutiveGateway uint32
	// Split counts failures without an answer by themselves: ConsecutiveLocal of them
	// eject (consecutiveLocalOriginFailures, default 5).
	Split            bool
	ConsecutiveLocal uint32
	// Codes are the statuses that are failures, in order; nil: 500 to 599
	// (outlierDetectionHttpErrorCodes).
	Codes []int
	// Interval is how often it is looked whether an ejection is over; default 10 s.
	Interval time.Duration
	// Base is how long the first ejection lasts (baseEjectionTime, default 30 s).
	Base time.Duration
	// MaxPercent of the endpoints, and never more, are ejected at once
	// (maxEjectionPercent, default 10).
	MaxPercent int
	// MinHealth is the percentage of endpoints that are not ejected below which all
	// are used again (minHealthPercent); 0: never.
	MinHealth int
}

// Envoy's defaults.
const (
	defaultConsecutive = 5
	defaultEjected     = 10 // percent
)

func compileOutlier(o *networking.OutlierDetection) *Outlier {
	if o == nil {
		return nil
	}
	out := &Outlier{
		Consecutive5xx:     defaultConsecutive,
		ConsecutiveGateway: o.GetConsecutiveGatewayErrors().GetValue(),
		Split:              o.SplitExternalLocalOriginErrors,
		ConsecutiveLocal:   defaultConsecutive,
		Interval:           10 * time.Second,
		Base:               30 * time.Second,
		MaxPercent:         defaultEjected,
		MinHealth:          int(o.MinHealthPercent),
	}
	if n := o.Consecutive_5XxErrors; n != nil {
		out.Consecutive5xx = n.Value
	}
	if n := o.GetConsecutiveLocalOriginFailures().GetValue(); n > 0 {
		out.ConsecutiveLocal = n
	}
	if o.Interval != nil {
		out.Interval = o.Interval.AsDuration()
	}
	if o.BaseEjectionTime != nil {
		out.Base = o.BaseEjectionTime.AsDuration()
	}
	if o.MaxEjectionPercent > 0 {
		out.MaxPercent = int(o.MaxEjectionPercent)
	}
	for _, code := range o.OutlierDetectionHttpErrorCodes {
		out.Codes = append(out.Codes, int(code))
	}
	slices.Sort(out.Codes)
	return out
}

// Fails says that an answer's status counts as a failure, and as one of a gateway.
// Where the statuses are listed none of them is a gateway's, as in Envoy.
func (o *Outlier) Fails(status int) (failed, gateway bool) {
	if o.Codes != nil {
		_, failed = slices.BinarySearch(o.Codes, status)
		return failed, false
	}
	return status/100 == 5, 502 <= status && status <= 504
}
