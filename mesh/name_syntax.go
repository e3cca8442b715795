package mesh

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

// IsName says whether b is a host name in lower case without a trailing dot:
// labels of 1 to 63 bytes, 253 bytes in all (RFC 1035 §2.3.4).
func IsName[T string | []byte](b T) bool {
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
