package sluice_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Who looks a message up finds it by its words. So what pages quote of the product in the
// first column of their tables is what the product says; … stands for what differs from one
// time to the next.
func TestMessagesThatPagesQuoteAreInTheCode(t *testing.T) {
	t.Parallel()
	said, all := texts(t), pages(t)
	quoted, unused := 0, maps.Clone(filled)
	for page, at := range map[string]string{
		"docs/troubleshooting.md": "# Troubleshooting", "docs/agent.md": "## The log", "docs/operations.md": "### What it says",
	} {
		_, text, found := strings.Cut(all[page], at+"\n")
		if !found {
			t.Fatalf("%s: there is no %q", page, at)
		}
		if at != "# Troubleshooting" {
			text, _, _ = strings.Cut(text, "\n#")
		}
		for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \| `).FindAllStringSubmatch(text, -1) {
			for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
				quoted++
				text, known := filled[span[1]]
				delete(unused, span[1])
				if !known {
					text = span[1]
				}
				if text != "" && !says(said, text) {
					t.Errorf("%s: nothing in the code says %q; if others say it, filled has to know that", page, text)
				}
			}
		}
	}
	for quote := range unused {
		t.Errorf("no page quotes %q any more: take it out of filled", quote)
	}
	if quoted < 100 {
		t.Errorf("only %d messages are quoted: is this test blind?", quoted)
	}
}

// What Kubernetes shows people under a name of ours, they find by that name.
func TestReasonsOfEventsAreExplained(t *testing.T) {
	t.Parallel()
	page := pages(t)["docs/troubleshooting.md"]
	reasons := 0
	for _, text := range texts(t) {
		if regexp.MustCompile(`^Sluice[A-Z]\w+$`).MatchString(text) {
			if reasons++; !strings.Contains(page, "| `"+text+"` | ") {
				t.Errorf("docs/troubleshooting.md does not say what to do about an Event %s", text)
			}
		}
	}
	if reasons < 6 {
		t.Errorf("only %d reasons were found: is this test blind?", reasons)
	}
}

// filled are quotes in which something stands that the code puts in, and how the code has
// them; "" is for what others say: Kubernetes, curl, the kernel, Go's libraries.
var filled = map[string]string{
	"Could not resolve host": "", "Network is unreachable": "", // curl, the kernel
	"has expired or is not yet valid":                     "", // crypto/x509
	"sluice: spec.…: not a protocol":                      "not a protocol; use one of",
	"failed to find plugin \"sluice-cni\"":                "", // libcni
	"FailedCreatePodSandBox":                              "",
	"Unhealthy":                                           "",
	"Readiness probe failed: …":                           "",
	"violates PodSecurity":                                "",
	"insufficient quota to match these scopes":            "",
	"ErrImagePull":                                        "",
	"ImagePullBackOff":                                    "",
	"CrashLoopBackOff":                                    "",
	"Terminating":                                         "",
	"hostNetwork: true":                                   "",
	"no matches for kind \"ServiceEntry\"":                "",
	"unknown field \"spec.name\"":                         "",
	"--hosts-file":                                        "hosts-file",
	"… TLS_error:|CERTIFICATE_VERIFY_FAILED: …":           "TLS_error:|…: ",
	"… TLS_error:|Secret is not supplied: …":              "Secret is not supplied",
	"… HANDSHAKE_FAILURE: remote error: tls: …":           "HANDSHAKE_FAILURE",
	"the proxy answered CONNECT …":                        "the proxy answered … with ",
	"file …: is missing":                                  "is missing",
	"… has the entry, but the runtime does not use it; …": "has the entry, but ",
	"x-envoy-overloaded: true":                            "x-envoy-overloaded",
	"annotation sluice.dev/inject is false":               "%s %s is false",
	"the policy of namespace … says select false":         "the policy of namespace … says select ",
	"Istio's sidecar serves it":                           "'s sidecar serves it",
	"Linkerd's …":                                         "'s sidecar serves it",
}

// says tells whether one of the texts has the quoted words, in their order.
func says(texts []string, quote string) bool {
	var words []string
	for part := range strings.SplitSeq(quote, "…") {
		words = append(words, regexp.QuoteMeta(strings.TrimSpace(part)))
	}
	wanted := regexp.MustCompile(strings.Join(words, ".*"))
	for _, text := range texts {
		if wanted.MatchString(text) {
			return true
		}
	}
	return false
}

// texts are what programs can say: the strings in their code, those that are put together in
// one expression as one, with … for what is not known before it runs; and the chart's, which
// the API server says.
func texts(t *testing.T) (all []string) {
	t.Helper()
	for _, manifest := range tracked(t, "deploy/chart/sluice/*.yaml") {
		all = append(all, manifest)
	}
	for path, code := range tracked(t, "*.go") {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, code, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, imports := n.(*ast.ImportSpec); imports {
				return false
			}
			e, is := n.(ast.Expr)
			if !is {
				return true
			}
			text, whole := written(e)
			if whole {
				all = append(all, text)
			}
			return !whole
		})
	}
	return all
}

// written is what an expression of strings has of them; false if it is no such expression.
func written(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, some := written(e.X)
		right, more := written(e.Y)
		if e.Op != token.ADD || !some && !more {
			return "", false
		}
		if !some {
			left = "…"
		}
		if !more {
			right = "…"
		}
		return left + right, true
	}
	return "", false
}
