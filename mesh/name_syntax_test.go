package mesh

import (
	"strings"
	"testing"
)

func TestOnlyWhatEverybodyReadsAlikeIsAName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for name, want := range map[string]bool{
		"a": true, "a.test": true, "xn--bcher-kva.test": true, "_x.a-b.test": true, "1.2.3.4": true,
		long + ".test": true, strings.Repeat(long+".", 3) + strings.Repeat("a", 61): true,
		"": false, ".": false, ".a": false, "a.": false, "a..b": false, "A.test": false, "a b": false, "a\x00.test": false,
		`a\.test`: false, "a%2etest": false, "a/b": false, "bücher.test": false, "\u212aube.test": false, "*.test": false,
		"a:80": false, "[::1]": false, long + "a.test": false, strings.Repeat(long+".", 3) + strings.Repeat("a", 62): false,
	} {
		if IsName(name) != want || IsName([]byte(name)) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}
