package holder

import (
	"os"
	"testing"
)

func TestWhatCannotBeDuplicatedIsNoDescriptor(t *testing.T) {
	t.Parallel()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if fd, err := duplicate(f); err == nil || fd != -1 {
		t.Errorf("a closed file's duplicate is %d, %v", fd, err)
	}
}
