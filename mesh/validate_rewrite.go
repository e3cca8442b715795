package mesh

import (
	"regexp/syntax"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) rewrite(path string, rewrite *networking.HTTPRewrite) {
	if rewrite == nil {
		return
	}
	by := rewrite.UriRegexRewrite
	if rewrite.Uri != "" && by != nil {
		c.error(path+".uri", "", "cannot be together with uriRegexRewrite; keep one of them")
	}
	if rewrite.Uri == "" && by == nil && rewrite.Authority == "" {
		c.error(path, "", "is empty; write uri, uriRegexRewrite or authority")
	}
	c.pathText(path+".uri", rewrite.Uri)
	if rewrite.Authority != "" {
		c.authority(path+".authority", rewrite.Authority)
	}
	if by != nil {
		c.regexRewrite(path+".uriRegexRewrite", by)
	}
}

func (c *checker) regexRewrite(path string, by *networking.RegexRewrite) {
	c.regex(path+".match", by.Match)
	if by.Rewrite == "" {
		c.error(path+".rewrite", "", "is empty; write what is to stand in place of each match")
		return
	}
	c.pathText(path+".rewrite", by.Rewrite)
	parts, complaint := parseSubstitution(by.Rewrite)
	if complaint != "" {
		c.error(path+".rewrite", by.Rewrite, "%s", complaint)
	}
	expression, err := syntax.Parse(by.Match, syntax.Perl)
	for _, part := range parts {
		if err == nil && part.text == "" && part.group > expression.MaxCap() {
			c.error(path+".rewrite", by.Rewrite, "match has %d groups, so there is no \\%d; count the brackets", expression.MaxCap(), part.group)
			return
		}
	}
}

// pathText checks what is to become a part of a path.
func (c *checker) pathText(path, text string) {
	switch {
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }):
		c.error(path, text, "has a space, a control character or a # in it, with which no path is sent; write them as %%20 and the like")
	case len(text) > maxPathText:
		c.error(path, text, "longer than %d bytes; no server takes such a path", maxPathText)
	}
}

// maxPathText is as much as an expression may have.
const maxPathText = 1024
