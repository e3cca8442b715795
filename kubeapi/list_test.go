package kubeapi

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// The API server writes metadata before the items of its own kinds, and after those of
// definitions.
func TestAListIsReadItemByItem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"c"},"items":[{"a":1},{"b":[2]}]}`: `7 c {"a":1} {"b":[2]}`,
		`{"items": [ {"a":1} ,{}] ,"unknown":{"x":[1,2]},"metadata":{"resourceVersion":"8"}}`:                  `8  {"a":1} {}`,
		`{"metadata":{"resourceVersion":"9"},"items":null}`:                                                    `9 `,
		`{"metadata":{"resourceVersion":"9"}}`:                                                                 `9 `,
	} {
		var items []string
		meta, err := readList(strings.NewReader(text), func(item []byte) error { items = append(items, string(item)); return nil })
		if got := strings.Join(append([]string{meta.ResourceVersion, meta.Continue}, items...), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestAListThatBreaksOffIsNone(t *testing.T) {
	t.Parallel()
	whole := `{"kind":"ServiceList","metadata":{"resourceVersion":"7"},"items":[{"a":1},{"b":[2]}]}`
	for n := range len(whole) {
		if _, err := readList(strings.NewReader(whole[:n]), func([]byte) error { return nil }); err == nil {
			t.Errorf("%q is read as whole", whole[:n])
		}
	}
	for _, text := range []string{`[]`, `"x"`, `{"items":{}}`, `{"items":[1 2]}`, `{"metadata":7}`, `null`} {
		if _, err := readList(strings.NewReader(text), func([]byte) error { return nil }); err == nil {
			t.Errorf("%s is read", text)
		}
	}
	wrong := errors.New("wrong")
	if _, err := readList(strings.NewReader(whole), func([]byte) error { return wrong }); err != wrong {
		t.Error(err)
	}
	if _, err := readList(io.LimitReader(strings.NewReader(whole), 0), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
