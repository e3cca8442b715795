package mesh

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
)

// KeepAlive is connectionPool.tcp.tcpKeepalive: probes on connections over which nothing
// moves. What is zero is the kernel's own default.
type KeepAlive struct {
	Probes         int           // without an answer, before the connection is given up; default 9
	Time, Interval time.Duration // before the first probe and between two; default 2 h and 75 s
}

// What Linux takes (tcp(7)).
const (
	maxKeepAliveProbes = 127
	maxKeepAliveTime   = 32767 * time.Second
)

func compileKeepAlive(in *networking.ConnectionPoolSettings_TCPSettings_TcpKeepalive) *KeepAlive {
	if in == nil {
		return nil
	}
	return &KeepAlive{
		Probes:   int(min(in.Probes, maxKeepAliveProbes)),
		Time:     keepAliveTime(in.Time),
		Interval: keepAliveTime(in.Interval),
	}
}

// keepAliveTime is in whole seconds, as Istio has it.
func keepAliveTime(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return min(max(d.AsDuration().Truncate(time.Second), time.Second), maxKeepAliveTime)
}

// keepAlive warns of what a kernel does not take as it is written.
func (c *checker) keepAlive(path string, keep *networking.ConnectionPoolSettings_TCPSettings_TcpKeepalive) {
	if keep.GetProbes() > maxKeepAliveProbes {
		c.warn(path+".probes", "", "more than the kernel takes; %d are used", maxKeepAliveProbes)
	}
	for field, d := range map[string]*durationpb.Duration{"time": keep.GetTime(), "interval": keep.GetInterval()} {
		c.duration(path+"."+field, d, false)
		if used := keepAliveTime(d); d != nil && d.AsDuration() >= time.Millisecond && used != d.AsDuration() {
			c.warn(path+"."+field, d.AsDuration().String(), "the kernel takes 1 to %d whole seconds; %s is used", int(maxKeepAliveTime.Seconds()), used)
		}
	}
}
