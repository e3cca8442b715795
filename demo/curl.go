package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// clientEnv tells this program, started as "curl", that it stands in for it.
	clientEnv = "SLUICE_DEMO_CURL"
	// standIn is its name beside a real curl.
	standIn = "small-curl"
)

// Init takes over when this process was started as the demo's curl; then it does
// not return. Programs that use the package call it first thing in main.
func Init() {
	name := filepath.Base(os.Args[0])
	if (name == "curl" || name == standIn) && os.Getenv(clientEnv) != "" {
		os.Exit(client(os.Args[1:], os.Stdout, os.Stderr))
	}
}

// transfer is one run of the stand-in, which knows the options that the demo uses.
type transfer struct {
	silent      bool
	showErrors  bool
	output      string // -o
	format      string // -w
	limit       time.Duration
	url         *url.URL
	status      int
	localPort   int
	destination io.Writer
}

// Exit codes, the same as curl's.
const (
	curlUsage   = 2
	curlResolve = 6
	curlConnect = 7
	curlWrite   = 23
	curlTimeout = 28
	curlTLS     = 35
	curlReceive = 56
)

func client(args []string, stdout, stderr io.Writer) int {
	t, err := parseTransfer(args)
	if err != nil {
		fmt.Fprintln(stderr, "curl:", err)
		return curlUsage
	}
	t.destination = stdout
	if t.output != "" {
		f, err := os.OpenFile(t.output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
		if err != nil {
			fmt.Fprintln(stderr, "curl:", err)
			return curlWrite
		}
		defer f.Close()
		t.destination = f
	}
	code, err := t.run()
	if err != nil && (!t.silent || t.showErrors) {
		fmt.Fprintf(stderr, "curl: (%d) %v\n", code, err)
	}
	io.WriteString(stdout, t.formatted())
	return code
}

func parseTransfer(args []string) (*transfer, error) {
	t := &transfer{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		value := func() (string, error) {
			if len(args) == 0 {
				return "", fmt.Errorf("option %s: it needs a value", arg)
			}
			v := args[0]
			args = args[1:]
			return v, nil
		}
		var err error
		switch arg {
		case "-s":
			t.silent = true
		case "-S":
			t.showErrors = true
		case "-sS":
			t.silent, t.showErrors = true, true
		case "-o":
			t.output, err = value()
		case "-w":
			t.format, err = value()
		case "-m":
			var v string
			if v, err = value(); err == nil {
				t.limit, err = time.ParseDuration(v + "s")
			}
		default:
			if strings.HasPrefix(arg, "-") {
				return nil, fmt.Errorf("option %s: the demo's stand-in for curl does not know it", arg)
			}
			t.url, err = url.Parse(arg)
		}
		if err != nil {
			return nil, err
		}
	}
	if t.url == nil || t.url.Host == "" {
		return nil, errors.New("no URL specified")
	}
	return t, nil
}

func (t *transfer) run() (int, error) {
	ctx := context.Background()
	if t.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.limit)
		defer cancel()
	}
	if t.url.Scheme == "telnet" {
		return t.telnet(ctx)
	}
	return t.http(ctx)
}

func (t *transfer) http(ctx context.Context) (int, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { t.note(i.Conn) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url.String(), nil)
	if err != nil {
		return curlUsage, err
	}
	request.Header.Set("User-Agent", "sluice-demo")
	request.Header.Set("Accept", "*/*")
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return classify(err), err
	}
	defer response.Body.Close()
	t.status = response.StatusCode
	if _, err := io.Copy(t.destination, response.Body); err != nil {
		return classify(err), err
	}
	return 0, nil
}

// telnet copies what the server says until it closes.
func (t *transfer) telnet(ctx context.Context) (int, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.url.Host)
	if err != nil {
		return classify(err), err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	t.note(conn)
	if _, err := io.Copy(t.destination, conn); err != nil {
		return curlReceive, err
	}
	return 0, nil
}

func (t *transfer) note(c net.Conn) {
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		t.localPort = a.Port
	}
}

func classify(err error) int {
	var unknown *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &unknown):
		return curlResolve
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return curlTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return curlConnect
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		return curlTLS
	}
	return curlReceive
}

func (t *transfer) formatted() string {
	return strings.NewReplacer(
		"%{http_code}", fmt.Sprintf("%03d", t.status),
		"%{local_port}", strconv.Itoa(t.localPort),
		`\n`, "\n",
	).Replace(t.format)
}
