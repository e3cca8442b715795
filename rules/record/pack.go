package record

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"io"
)

// configBytes bounds what is unpacked: the rules are data from outside.
const configBytes = 64 << 20

func deflated(text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("record: writing into memory failed: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func inflated(text string) (string, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), configBytes))
	return string(out), err
}
