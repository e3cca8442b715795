package http1

// ValidAuthority reports whether b is a host with or without a port, in the one
// form that everybody reads alike. HTTP/2's :authority is held to it too.
func ValidAuthority(b []byte) bool { return goodAuthority(b) }

// ValidValue reports whether b may be a field's value: no control bytes but tab.
func ValidValue(b []byte) bool { return goodValue(b) }
