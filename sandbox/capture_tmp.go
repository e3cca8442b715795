package sandbox

func capture(proxyPort, dnsPort uint16) error { return nil }
