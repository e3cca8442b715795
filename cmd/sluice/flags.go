package main

import (
	"strings"
	"unicode"

	"github.com/spf13/pflag"
)

// kebabFlags lets every flag be written in camelCase too, as istioctl writes
// some of its own: --includeIPRanges is --include-ip-ranges.
func kebabFlags(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(kebab(name))
}

func kebab(name string) string {
	letters := []rune(name)
	var b strings.Builder
	for i, r := range letters {
		if i > 0 && unicode.IsUpper(r) && letters[i-1] != '-' && startsWord(letters, i) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// startsWord tells the I and the R of includeIPRanges from the P between them.
func startsWord(letters []rune, i int) bool {
	return !unicode.IsUpper(letters[i-1]) || (i+1 < len(letters) && unicode.IsLower(letters[i+1]))
}
