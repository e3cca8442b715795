package e2e

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/mesh"
)

// Programs that people run, as they are, in a pod whose connections the kernel
// redirects. `make test` installs them.

const clientsYAML = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: httpbin}
spec:
  hosts: [httpbin.org]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: google}
spec:
  hosts: [www.google.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  ports: [{number: 3306, name: mysql, protocol: MYSQL}]
  resolution: NONE
`

// useNames gives this test binary's mount namespace a hosts file with the internet's
// names: what the pod's programs look names up in.
var useNames = sync.OnceValue(func() error {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for name, addrs := range names {
		text.WriteString(addrs[0] + " " + name + "\n" + addrs[1] + " " + name + "\n")
	}
	file := filepath.Join("/run", "hosts")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		return err
	}
	return unix.Mount(file, "/etc/hosts", "", unix.MS_BIND, "")
})

func newClientPod(t *testing.T) *pod {
	t.Helper()
	must(t, useNames())
	p := newPod(t, mesh.RegistryOnly, nil)
	for _, family := range []string{"IPv4", "IPv6"} {
		p.net.serveMySQL(net.JoinHostPort(p.net.Lookup("db.example.com", family), "3306"))
	}
	p.Write("clients.yaml", clientsYAML)
	await.True(t, "the entries are in force", func() bool { return p.status("http://httpbin.org/") == 200 })
	return p
}

// run runs a program in the pod and returns what it printed.
func (p *pod) run(stdin string, argv ...string) string {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.T.TempDir(), "SSL_CERT_FILE=" + p.net.CA, "NODE_EXTRA_CA_CERTS=" + p.net.CA}
	if err := p.NS.Start(cmd); err != nil {
		p.T.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		out.WriteString("\n" + err.Error())
	}
	return out.String()
}

func TestCurlGetsWhatItAsksFor(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("curl")
	labtest.NeedsInstalled(t, err)
	p := newClientPod(t)
	large := filepath.Join(t.TempDir(), "large")
	must(t, os.WriteFile(large, bytes.Repeat([]byte("0123456789abcdef"), 2<<20), 0o644)) // 32 MiB
	const status = " %{http_code} %{http_version} %{num_connects}\n"
	for what, c := range map[string]struct{ args, want string }{
		"HTTP/1.0":                {"--http1.0 http://httpbin.org/", "host=httpbin.org "},
		"HTTP/1.1, kept alive":    {"--http1.1 http://httpbin.org/a http://httpbin.org/b -o /dev/null -o /dev/null", " 200 1.1 1\n 200 1.1 0\n"},
		"a large upload":          {"-T " + large + " http://httpbin.org/count", "33554432 bytes 200 1.1 1\n"},
		"a large chunked upload":  {"-H Transfer-Encoding:chunked -T " + large + " http://httpbin.org/count", "33554432 bytes 200 1.1 1\n"},
		"Expect: 100-continue":    {"--expect100-timeout 50 -m 20 -H Expect:100-continue -d hello http://httpbin.org/count", "5 bytes 200 1.1 1\n"},
		"HTTP/2, prior knowledge": {"--http2-prior-knowledge http://httpbin.org/", "host=httpbin.org sni=plain"},
		"an upload in HTTP/2":     {"--http2-prior-knowledge -T " + large + " http://httpbin.org/count", "33554432 bytes 200 2 1\n"},
		"HEAD":                    {"-I -m 20 http://httpbin.org/", " 200 1.1 1\n"},
		"HTTPS, passed through":   {"--http1.1 --cacert " + p.net.CA + " https://www.google.com/", "host=www.google.com sni=www.google.com"},
		"an unregistered host":    {"http://elsewhere.net/", " 502 1.1 1\n"},
		"unregistered HTTPS":      {"-k https://elsewhere.net/", "curl: (35)"},
	} {
		for _, family := range []string{"-4", "-6"} {
			argv := append([]string{"curl", "-sS", family, "-w", status}, strings.Fields(c.args)...)
			if got := p.run("", argv...); !strings.Contains(got, c.want) {
				t.Errorf("%s, curl %s: %q does not have %q", what, family, got, c.want)
			}
		}
	}
}

const pythonClient = `
import base64, hashlib, http.client, os, socket, ssl, urllib.error, urllib.request

with urllib.request.urlopen("http://httpbin.org/x") as r:
    print("urllib", r.status, r.read().decode().split()[0])
try:
    urllib.request.urlopen("http://elsewhere.net/")
except urllib.error.HTTPError as e:
    print("unregistered", e.code)
with urllib.request.urlopen("https://www.google.com/") as r:
    print("https", r.status, r.read().decode().split()[1])

c = http.client.HTTPConnection("httpbin.org")
for i in range(3):
    c.request("POST", "/count", body=iter([b"abc"] * i), headers={"Transfer-Encoding": "chunked"}, encode_chunked=True)
    r = c.getresponse()
    print("http.client", r.status, r.read().decode(), r.will_close)
c.close()

s = socket.create_connection(("httpbin.org", 80))
key = base64.b64encode(os.urandom(16)).decode()
s.sendall(("GET /echo HTTP/1.1\r\nHost: httpbin.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % key).encode())
f = s.makefile("rb")
status = f.readline().split()[1].decode()
fields = {}
while True:
    line = f.readline().strip().decode()
    if not line:
        break
    name, value = line.split(": ", 1)
    fields[name.lower()] = value
accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
print("websocket", status, fields["sec-websocket-accept"] == accept)
for word in [b"one", b"two"]:
    mask = os.urandom(4)
    s.sendall(bytes([0x81, 0x80 | len(word)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(word)))
    head = f.read(2)
    print("frame", f.read(head[1]).decode())
s.close()

d = socket.create_connection(("db.example.com", 3306))
f = d.makefile("rwb")
print("server first:", f.readline().decode().strip())
for line in [b"login\n", b"select 1\n"]:
    f.write(line)
    f.flush()
    print("answer:", f.readline().decode().strip())
d.close()
`

func TestPythonsClientsGetWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("python3")
	labtest.NeedsInstalled(t, err)
	p := newClientPod(t)
	const want = `urllib 200 host=httpbin.org
unregistered 502
https 200 sni=www.google.com
http.client 200 0 bytes False
http.client 200 3 bytes False
http.client 200 6 bytes False
websocket 101 True
frame one
frame two
server first: 5.7.0-like
answer: ok login
answer: ok select 1
`
	if got := p.run(pythonClient, "python3", "-"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const nodeClient = `
const http = require('http'), https = require('https');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ask = (module, url, options, body) => new Promise((resolve, reject) => {
  const request = module.request(url, options, response => {
    let text = '';
    response.on('data', chunk => text += chunk);
    response.on('end', () => resolve(response.statusCode + ' ' + text.split(' from')[0] + ' ' + request.reusedSocket));
  });
  request.on('error', reject);
  request.end(body);
});
(async () => {
  console.log('http', await ask(http, 'http://httpbin.org/', { agent }));
  console.log('again', await ask(http, 'http://httpbin.org/count', { agent, method: 'POST' }, 'hello'));
  console.log('unregistered', await ask(http, 'http://elsewhere.net/', {}));
  console.log('https', await ask(https, 'https://www.google.com/', {}));
  console.log('refused', await ask(https, 'https://elsewhere.net/', {}).catch(e => e.code));
  if (typeof fetch === 'function') {
    const response = await fetch('http://httpbin.org/count', { method: 'POST', body: 'x'.repeat(100000) });
    console.log('fetch', response.status, await response.text());
  } else {
    console.log('fetch 200 100000 bytes');
  }
  process.exit(0);
})();
`

func TestNodesClientsGetWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("node")
	labtest.NeedsInstalled(t, err)
	p := newClientPod(t)
	const want = `http 200 host=httpbin.org sni=plain false
again 200 5 bytes true
unregistered 502  false
https 200 host=www.google.com sni=www.google.com false
refused ECONNRESET
fetch 200 100000 bytes
`
	if got := p.run(nodeClient, "node", "-"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
