package proxy

// A name that is matched against a wildcard is looked up as it stands, so it must
// be one that everybody reads alike. These are the letters of host names (RFC 952,
// RFC 1123 §2.1) and the underscore, which is in use.
var nameByte = func() (t [256]bool) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = true
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	t['-'], t['_'] = true, true
	return t
}()

// isName says whether b is a host name in lower case without a trailing dot:
// labels of 1 to 63 bytes, 253 bytes in all (RFC 1035 §2.3.4).
func isName[T string | []byte](b T) bool {
	if len(b) > 253 {
		return false
	}
	label := 0
	for i := range len(b) {
		switch c := b[i]; {
		case c == '.' && label == 0:
			return false
		case c == '.':
			label = 0
		case !nameByte[c] || label == 63:
			return false
		default:
			label++
		}
	}
	return label > 0
}

// canonicalName is how a server name is compared: ASCII in lower case, one
// trailing dot removed. Other letters stay what they are: lowering them could
// make a registered name of another.
func canonicalName(name string) string {
	if n := len(name); n > 1 && name[n-1] == '.' {
		name = name[:n-1]
	}
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}
