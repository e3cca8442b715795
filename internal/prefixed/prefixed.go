// Package prefixed says of errors where they are.
package prefixed

import (
	"errors"
	"fmt"
)

// Each puts a prefix, as "file.yaml: ", before each of joined errors; nil stays nil. Errors
// that one text of its own wraps (fmt.Errorf with two %w) are one.
func Each(prefix string, err error) error {
	if err == nil {
		return nil
	}
	joined, several := err.(interface{ Unwrap() []error })
	if !several || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return fmt.Errorf("%s%w", prefix, err)
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, Each(prefix, e))
	}
	return errors.Join(out...)
}
