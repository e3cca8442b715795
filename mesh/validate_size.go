package mesh

import (
	"regexp/syntax"

	networking "istio.io/api/networking/v1alpha3"
)

// Bounds of what one resource may become in the memory of every proxy that knows it: little
// text can be much there, and in a cluster it is a stranger's.
const (
	// maxExpressions bounds its regular expressions together, as weigh counts them: some
	// 100 bytes each. Go bounds each by itself, at 128 MiB; Envoy does, too
	// (re2.max_program_size.error_level, which is 32768 in Istio's bootstrap).
	maxExpressions = 1 << 18
	// maxEdited bounds the fields that a request or an answer is given, in bytes: as many as
	// servers take in a whole head (Envoy's max_request_headers_kb).
	maxEdited = 60 << 10
	// maxEdits bounds those of all rules and destinations: each destination with fields of
	// its own has its rule's as well.
	maxEdits = 1 << 20
)

// weigh is how large an expression becomes, about the instructions that it is compiled to and
// the ranges in them: x{1000} is a thousand, \pL is hundreds.
func weigh(e *syntax.Regexp) int {
	switch e.Op {
	case syntax.OpLiteral:
		return len(e.Rune)
	case syntax.OpCharClass:
		return 1 + len(e.Rune)/2
	case syntax.OpRepeat:
		times := e.Max
		if times < 0 { // {2,} is twice, and then any number of times
			times = e.Min + 1
		}
		return 1 + times*weigh(e.Sub[0])
	}
	sum := 1
	for _, sub := range e.Sub {
		sum += weigh(sub)
	}
	return sum
}

// bounded counts an expression.
func (c *checker) bounded(path, expression string, e *syntax.Regexp) {
	before := c.expressions
	if c.expressions += weigh(e); c.expressions > maxExpressions && before <= maxExpressions {
		c.error(path, expression, "with the expressions before it %d, more than the %d that those of one resource may amount to, where each character counts, each range of characters, and each repetition of one; repeat less, or write * for {1,1000}",
			c.expressions, maxExpressions)
	}
}

// editedSize counts what a rule's heads and those of its destinations become.
func (c *checker) editedSize(path string, route *networking.HTTPRoute) {
	rule, most := fieldsSize(route.Headers), 0
	sum := rule.request + rule.response
	for _, d := range route.Route {
		if d.Headers != nil {
			own := fieldsSize(d.Headers)
			most = max(most, own.request, own.response)
			sum += rule.request + rule.response + own.request + own.response
		}
	}
	if most += max(rule.request, rule.response); most > maxEdited {
		c.error(path+".headers", "", "gives a head %d bytes of fields, and no server takes more than %d; write fewer, or shorter ones", most, maxEdited)
	}
	before := c.edits
	if c.edits += sum; c.edits > maxEdits && before <= maxEdits {
		c.error(path+".headers", "", "with those of the rules before it %d bytes, more than the %d that the fields of one VirtualService may amount to, where each destination that has fields has the rule's as well; write fewer", c.edits, maxEdits)
	}
}

type fieldSizes struct{ request, response int }

func fieldsSize(headers *networking.Headers) fieldSizes {
	size := func(ops *networking.Headers_HeaderOperations) (sum int) {
		for _, fields := range []map[string]string{ops.GetSet(), ops.GetAdd()} {
			for name, value := range fields {
				sum += len(name) + len(value) + len(": \r\n")
			}
		}
		for _, name := range ops.GetRemove() {
			sum += len(name)
		}
		return sum
	}
	return fieldSizes{size(headers.GetRequest()), size(headers.GetResponse())}
}
