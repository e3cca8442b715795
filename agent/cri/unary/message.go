package unary

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field is one field of a message: its bytes (a string, a message) or, of a number,
// its value.
type Field struct {
	Number int
	Bytes  []byte
	Value  uint64
}

// Fields calls f with each field of a message, in the message's order. Floating-point
// and other fields of fixed size are left out.
func Fields(message []byte, f func(Field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("a field's tag: %w", protowire.ParseError(n))
		}
		message = message[n:]
		field := Field{Number: int(number)}
		switch kind {
		case protowire.BytesType:
			field.Bytes, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			field.Value, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("field %d: %w", number, protowire.ParseError(n))
		}
		message = message[n:]
		if kind != protowire.BytesType && kind != protowire.VarintType {
			continue
		}
		if err := f(field); err != nil {
			return fmt.Errorf("field %d: %w", number, err)
		}
	}
	return nil
}

// Entry reads an entry of a map from string to string into a map, which it makes.
func Entry(message []byte, into *map[string]string) error {
	var entry [3]string
	err := Fields(message, func(f Field) error {
		if f.Number < len(entry) {
			entry[f.Number] = string(f.Bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if *into == nil {
		*into = map[string]string{}
	}
	(*into)[entry[1]] = entry[2]
	return nil
}

// Text encodes a field that is a string, or the strings of a repeated one.
func Text(number int, values ...string) (out []byte) {
	for _, v := range values {
		out = protowire.AppendString(protowire.AppendTag(out, protowire.Number(number), protowire.BytesType), v)
	}
	return out
}

// Number encodes a field that is a number or a bool.
func Number(number int, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, protowire.Number(number), protowire.VarintType), value)
}

// Message encodes a field that is a message of these fields.
func Message(number int, fields ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, protowire.Number(number), protowire.BytesType), Join(fields...))
}

// Join is the message of these fields.
func Join(fields ...[]byte) (out []byte) {
	for _, f := range fields {
		out = append(out, f...)
	}
	return out
}

// Map encodes a map from string to string.
func Map(number int, values map[string]string) (out []byte) {
	for k, v := range values {
		out = append(out, Message(number, Text(1, k), Text(2, v))...)
	}
	return out
}
