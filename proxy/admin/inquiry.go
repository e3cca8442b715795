package admin

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// Inquiry is a request, or a connection, that nobody sends, in words. Its fields are
// named after the flags of `sluice explain`.
type Inquiry struct {
	URL     string   `json:"url,omitempty"`
	Method  string   `json:"method,omitempty"` // default GET
	Headers []string `json:"headers,omitempty"`
	Dst     string   `json:"dst,omitempty"` // ADDRESS:PORT; beside a URL also an ADDRESS
	SNI     string   `json:"sni,omitempty"`
}

// Bounds of an Inquiry: the head of a request is no larger for the proxy.
const (
	maxInquiry = 64 << 10
	maxShown   = 200 // of a URL, in words
)

// Read makes sense of an inquiry. All mistakes come at once.
func (i Inquiry) Read() (mesh.Inquiry, error) {
	var out mesh.Inquiry
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	add(i.readDst(&out))
	if i.SNI != "" {
		name := strings.ToLower(strings.TrimSuffix(i.SNI, "."))
		if !mesh.IsName(name) {
			add(fmt.Errorf("--sni %q: not a host name", clip(i.SNI)))
		}
		out.ServerName = name
	}
	switch {
	case i.URL != "":
		add(i.readURL(&out))
	case len(i.Headers) > 0 || i.Method != "":
		add(errors.New("flags -H and -X: are about a request; name it with --url"))
	case i.SNI != "":
		out.Speaks = mesh.TLSTraffic
	default:
		out.Speaks = mesh.TCPTraffic
	}
	return out, errors.Join(errs...)
}

func (i Inquiry) readDst(out *mesh.Inquiry) error {
	if i.Dst == "" {
		if i.URL == "" {
			return errors.New("flags --url and --dst: one of them is needed")
		}
		return nil
	}
	if to, err := netip.ParseAddrPort(i.Dst); err == nil && to.Port() != 0 {
		out.Dst = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
		return nil
	}
	addr, err := netip.ParseAddr(strings.Trim(i.Dst, "[]"))
	switch {
	case err != nil:
		return fmt.Errorf("--dst %q: not an address and port; write 1.2.3.4:443 or [2001:db8::1]:443 (names are not looked up)", clip(i.Dst))
	case i.URL == "":
		return fmt.Errorf("--dst %q: has no port; write %s", i.Dst, netip.AddrPortFrom(addr, 443))
	}
	out.Dst = netip.AddrPortFrom(addr.Unmap().WithZone(""), 0)
	return nil
}

// readURL adds what the client of a URL sends. Of https that is a ClientHello: what is
// within nobody sees.
func (i Inquiry) readURL(out *mesh.Inquiry) error {
	u, err := url.Parse(i.URL)
	port := uint16(0)
	if err == nil {
		port = map[string]uint16{"http": 80, "https": 443}[u.Scheme]
	}
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("--url %q: not a URL; write one like https://api.example.com/v1/x", clip(i.URL))
	case port == 0:
		return fmt.Errorf("--url %q: %s is not HTTP; use http or https, or --dst for other connections", clip(i.URL), u.Scheme)
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("--url %q: %q is not a port; use 1 to 65535", clip(i.URL), text)
		}
		port = uint16(n)
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && !out.Dst.Addr().IsValid() {
		out.Dst = netip.AddrPortFrom(addr.Unmap().WithZone(""), out.Dst.Port())
	}
	if at := out.Dst.Port(); at != 0 && at != port {
		return fmt.Errorf("--dst %q: its port is not %d, the one of --url; leave it out", i.Dst, port)
	}
	out.Dst = netip.AddrPortFrom(out.Dst.Addr(), port)
	if u.Scheme == "https" {
		out.Speaks = mesh.TLSTraffic
		if name := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")); out.ServerName == "" && !isAddress(name) {
			out.ServerName = name // addresses are not sent (RFC 6066 §3)
		}
		return nil
	}
	out.Speaks = mesh.HTTPTraffic
	return i.readHead(u, out)
}

// looksUp is the name that the application asks DNS for: that of the URL, whatever server
// name or Host it sends.
func (i Inquiry) looksUp() string {
	u, err := url.Parse(i.URL)
	if err != nil {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// readHead has the proxy read the request as it would be sent.
func (i Inquiry) readHead(u *url.URL, out *mesh.Inquiry) error {
	head, err := i.head(u)
	if err != nil {
		return err
	}
	if out.Host, out.Request, err = proxy.ReadRequest(head); err != nil {
		return fmt.Errorf("the request is not one that the proxy takes: %w", err)
	}
	return nil
}

// Head is the request of an inquiry that has been read, nil where it is none.
func (i Inquiry) Head() []byte {
	u, err := url.Parse(i.URL)
	if err != nil || u.Scheme != "http" {
		return nil
	}
	head, _ := i.head(u)
	return head
}

func (i Inquiry) head(u *url.URL) ([]byte, error) {
	method, host := "GET", u.Host
	if i.Method != "" {
		method = i.Method
	}
	var fields bytes.Buffer
	for _, h := range i.Headers {
		name, value, found := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !found || name == "" {
			return nil, fmt.Errorf("-H %q: not a header; write 'name: value'", clip(h))
		}
		if strings.EqualFold(name, "host") {
			host = strings.TrimSpace(value)
			continue
		}
		fmt.Fprintf(&fields, "%s: %s\r\n", name, strings.TrimSpace(value))
	}
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, u.RequestURI(), host, fields.String())
	if len(head) > maxInquiry {
		return nil, fmt.Errorf("the request is larger than the %d bytes that a head may have", maxInquiry)
	}
	return head, nil
}

func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return s[:maxShown] + "…"
}
