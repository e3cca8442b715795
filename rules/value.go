package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// value is one field's value as it came: text from a flag, an annotation or a
// JSON scalar, or the elements of a JSON array.
type value struct {
	text     string
	elements []string
	array    bool
}

// jsonValue reads a JSON string, number, boolean, or an array of the first two.
func jsonValue(raw json.RawMessage) (value, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '[' {
		return arrayValue(raw)
	}
	text, err := scalar(raw)
	return value{text: text}, err
}

func arrayValue(raw json.RawMessage) (value, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return value{}, fmt.Errorf("not valid JSON: %w", err)
	}
	v := value{array: true}
	var errs []error
	for i, item := range items {
		item = bytes.TrimSpace(item)
		text, err := scalar(item)
		if err == nil && (item[0] == 't' || item[0] == 'f') {
			err = errors.New("a boolean; use a string or a number")
		}
		if err != nil {
			errs = append(errs, &elementError{i + 1, string(item), err.Error()})
		}
		v.elements = append(v.elements, text)
	}
	return v, errors.Join(errs...)
}

// scalar gives a JSON string's content, and a number or boolean as written.
func scalar(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", errors.New("no value")
	}
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case 'n':
		return "", errors.New("null is not a value; remove the field to get its default")
	case '{', '[':
		return "", errors.New("an object or nested array; use a string, a number or a flat array")
	}
	return string(raw), nil
}

// split gives the elements of a list: the array's, or the comma list's. One
// trailing comma is fine, no text is no element.
func (v value) split() []string {
	if v.array {
		return v.elements
	}
	if strings.TrimSpace(v.text) == "" {
		return nil
	}
	elements := strings.Split(v.text, ",")
	if last := len(elements) - 1; strings.TrimSpace(elements[last]) == "" {
		elements = elements[:last]
	}
	return elements
}

// single gives the trimmed text of a field that takes one value.
func (v value) single() (string, error) {
	if v.array {
		return "", errors.New("an array; this field takes one value")
	}
	return strings.TrimSpace(v.text), nil
}

// elementError is one bad element of a list.
type elementError struct {
	position int
	element  string
	problem  string
}

func (e *elementError) Error() string {
	return fmt.Sprintf("element %d %q: %s", e.position, e.element, e.problem)
}
