package mesh

import networking "istio.io/api/networking/v1alpha3"

// Balance is how one of a cluster's endpoints is chosen
// (DestinationRule loadBalancer.simple).
type Balance uint8

const (
	// LeastRequest takes the less busy of two that are drawn at random; where weights
	// differ, each by its weight over what it has to do. It is Istio's default, which
	// LEAST_CONN, UNSPECIFIED and no loadBalancer mean too.
	LeastRequest Balance = iota
	// RoundRobin takes them in turn, each as often as its weight says.
	RoundRobin
	// Random draws one; weights do not count, as in Envoy.
	Random
)

// compileBalance also says whether endpoints are left out altogether (PASSTHROUGH):
// the connection goes where the application sent it.
func compileBalance(lb *networking.LoadBalancerSettings) (b Balance, passthrough bool) {
	switch lb.GetSimple() {
	case networking.LoadBalancerSettings_ROUND_ROBIN:
		return RoundRobin, false
	case networking.LoadBalancerSettings_RANDOM:
		return Random, false
	case networking.LoadBalancerSettings_PASSTHROUGH:
		return LeastRequest, true
	}
	return LeastRequest, false
}
