// Package prefixed says of errors where they are.
package prefixed

import (
	"errors"
	"fmt"
)

// Each puts a prefix, as "file.yaml: ", before each of joined errors; nil stays nil.
func Each(prefix string, err error) error {
	if err == nil {
		return nil
	}
	joined, several := err.(interface{ Unwrap() []error })
	if !several {
		return fmt.Errorf("%s%w", prefix, err)
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, Each(prefix, e))
	}
	return errors.Join(out...)
}
