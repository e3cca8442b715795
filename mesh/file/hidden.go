package file

import (
	"bytes"

	"github.com/sluice-cni/sluice/mesh"
)

// mayHide says whether an object that was not found may stand where a file cannot be
// read, and notes where. It would be there twice once its author has corrected the
// file. A part that does not have the name does not have the object.
func (t *transaction) mayHide(id mesh.Identity, in *HiddenError) bool {
	for _, part := range t.unread {
		if mentions(part.Text, id.Name) {
			in.Objects, in.Parts = append(in.Objects, id), append(in.Parts, part.Issue)
			return true
		}
	}
	return false
}

// mentions looks for a name that is no part of a longer one. A text in UTF-16 has a
// zero beside each letter.
func mentions(text []byte, name string) bool {
	text = bytes.ReplaceAll(text, []byte{0}, nil)
	for {
		at := bytes.Index(text, []byte(name))
		if at < 0 {
			return false
		}
		end := at + len(name)
		if (at == 0 || !inName(text[at-1])) && (end == len(text) || !inName(text[end])) {
			return true
		}
		text = text[at+1:]
	}
}

func inName(b byte) bool {
	return b == '-' || b == '.' || '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'z'
}
