package egresspage

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The sums are of the three documents that the page has its reader type, without the
// page's own indentation.
func TestTheTextsAreThePageToTheLetter(t *testing.T) {
	t.Parallel()
	for text, want := range map[*string]string{
		&HTTPBin: "45133420e598bfacc04a4d2237d8847132ad152dce7f60d0e0e0059c358b4120",
		&Google:  "2aa389974c4785fe65178afbedd4257354e7323fc81347f66a46a63dd4117892",
		&Timeout: "d44a7fdbe358807be85bd0cf2efee520b02852932eefb2c1b134f9b9cf726f56",
	} {
		sum := sha256.Sum256([]byte(*text))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("the sum is %s, not %s, of\n%s", got, want, *text)
		}
	}
}
