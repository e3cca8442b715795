package mesh

import networking "istio.io/api/networking/v1alpha3"

// version is which version of HTTP a server is spoken to in.
type version uint8

const (
	asDeclared  version = iota // by the port (h2UpgradePolicy DEFAULT and DO_NOT_UPGRADE)
	upgraded                   // HTTP/2, though the port declares HTTP (h2UpgradePolicy UPGRADE)
	asRequested                // the application's own (useClientProtocol)
)

func compileVersion(http *networking.ConnectionPoolSettings_HTTPSettings) version {
	switch {
	case http.GetUseClientProtocol():
		return asRequested
	case http.GetH2UpgradePolicy() == networking.ConnectionPoolSettings_HTTPSettings_UPGRADE:
		return upgraded
	}
	return asDeclared
}

// on is what connections of a port speak. Unset is the application's own.
func (v version) on(declared Protocol) Protocol {
	switch {
	case v == upgraded && declared == HTTP:
		return HTTP2
	case v == asRequested && (declared == HTTP || declared == HTTP2):
		return Unset
	}
	return declared
}
