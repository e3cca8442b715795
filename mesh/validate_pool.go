package mesh

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
)

// connectionPool checks what Istio checks, of limits that are not kept yet too: what
// is accepted today must not be an error on the day it is followed.
func (c *checker) connectionPool(path string, pool *networking.ConnectionPoolSettings) {
	if pool == nil {
		return
	}
	if c.empty(path) {
		c.error(path, "", "is empty; write tcp, or leave it out")
	}
	c.tcpPool(path+".tcp", pool.Tcp)
	c.httpPool(path+".http", pool.Http)
}

func (c *checker) tcpPool(path string, tcp *networking.ConnectionPoolSettings_TCPSettings) {
	c.notNegative(path+".maxConnections", tcp.GetMaxConnections())
	c.duration(path+".connectTimeout", tcp.GetConnectTimeout(), false)
	c.duration(path+".maxConnectionDuration", tcp.GetMaxConnectionDuration(), false)
	c.duration(path+".idleTimeout", tcp.GetIdleTimeout(), true)
	c.keepAlive(path+".tcpKeepalive", tcp.GetTcpKeepalive())
}

func (c *checker) httpPool(path string, http *networking.ConnectionPoolSettings_HTTPSettings) {
	c.notNegative(path+".http1MaxPendingRequests", http.GetHttp1MaxPendingRequests())
	c.notNegative(path+".http2MaxRequests", http.GetHttp2MaxRequests())
	c.notNegative(path+".maxRequestsPerConnection", http.GetMaxRequestsPerConnection())
	c.notNegative(path+".maxRetries", http.GetMaxRetries())
	c.notNegative(path+".maxConcurrentStreams", http.GetMaxConcurrentStreams())
	c.duration(path+".idleTimeout", http.GetIdleTimeout(), true)
	if http.GetUseClientProtocol() && http.GetH2UpgradePolicy() == networking.ConnectionPoolSettings_HTTPSettings_UPGRADE {
		c.error(path+".useClientProtocol", "true", "cannot be together with h2UpgradePolicy UPGRADE; remove one of them")
	}
	if ping := http.GetHttp2KeepAlive(); ping != nil {
		c.half(path+".http2KeepAlive.interval", ping.Interval != nil, "timeout")
		c.half(path+".http2KeepAlive.timeout", ping.Timeout != nil, "interval")
		c.duration(path+".http2KeepAlive.interval", ping.Interval, false)
		c.duration(path+".http2KeepAlive.timeout", ping.Timeout, false)
	}
}

// half asks for a field that means nothing without the other.
func (c *checker) half(path string, there bool, other string) {
	if !there {
		c.error(path, "", "is missing; write it beside %s", other)
	}
}

func (c *checker) notNegative(path string, n int32) {
	if n < 0 {
		c.error(path, fmt.Sprint(n), "is negative; use 0 or more")
	}
}

// percent checks a whole percentage.
func (c *checker) percent(path string, n int32) {
	if n < 0 || n > 100 {
		c.error(path, fmt.Sprint(n), "not a percentage; use 0 to 100")
	}
}

// share checks a percentage with decimals.
func (c *checker) share(path string, p interface{ GetValue() float64 }) {
	if v := p.GetValue(); !(v >= 0 && v <= 100) { // NaN too
		c.error(path, fmt.Sprint(v), "not a percentage; use 0 to 100")
	}
}
