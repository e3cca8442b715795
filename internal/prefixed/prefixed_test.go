package prefixed

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestEachOfJoinedErrorsHasThePrefix(t *testing.T) {
	t.Parallel()
	err := Each("a: ", errors.Join(errors.New("one"), errors.Join(errors.New("two"), fs.ErrNotExist)))
	if want := "a: one\na: two\na: file does not exist"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("what it was is lost")
	}
	two := fmt.Errorf("%w, which %w", errors.New("one"), fs.ErrExist)
	if err := Each("a: ", two); err.Error() != "a: "+two.Error() || !errors.Is(err, fs.ErrExist) {
		t.Errorf("a text of its own is lost: %v", err)
	}
	if Each("a: ", nil) != nil {
		t.Error("nothing became an error")
	}
}
