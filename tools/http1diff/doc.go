// Package http1diff holds proxy/http1 against fasthttp: the same bytes into both
// parsers, and every disagreement explained in docs/http-differences.md. It has tests
// only, in a module of its own, so that nothing else depends on fasthttp.
package http1diff
