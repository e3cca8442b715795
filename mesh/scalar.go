package mesh

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-cni/sluice/internal/yamltext"
)

// isScalarMessage names the messages that are written as a single value.
func isScalarMessage(fd protoreflect.FieldDescriptor) bool {
	return fd.Message().ParentFile().Package() == "google.protobuf"
}

// scalar reads a single value as fd wants it.
func (d *decoder) scalar(fd protoreflect.FieldDescriptor, n *yaml.Node, path string) (protoreflect.Value, bool) {
	at := n
	if n = d.follow(n); n == nil {
		return protoreflect.Value{}, false
	}
	if n.Kind != yaml.ScalarNode {
		d.wrongShape(at, n, path, "a single value")
		return protoreflect.Value{}, false
	}
	v, complaint := d.convert(fd, n, path)
	if complaint != "" {
		d.add(Error, at, path, n.Value, complaint)
		return protoreflect.Value{}, false
	}
	return v, true
}

// convert gives the value, or what is wrong with it.
func (d *decoder) convert(fd protoreflect.FieldDescriptor, n *yaml.Node, path string) (v protoreflect.Value, complaint string) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return d.text(n, path)
	case protoreflect.BoolKind:
		return boolean(n)
	case protoreflect.EnumKind:
		return d.enum(fd.Enum(), n, path)
	case protoreflect.Int32Kind:
		i, complaint := integer(n, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(i)), complaint
	case protoreflect.Uint32Kind:
		i, complaint := integer(n, 0, math.MaxUint32)
		if complaint != "" && isPort(fd) && !strings.Contains(complaint, "octal") {
			complaint = "not a port; use 1 to 65535"
		}
		return protoreflect.ValueOfUint32(uint32(i)), complaint
	case protoreflect.Uint64Kind:
		i, complaint := integer(n, 0, math.MaxInt64)
		return protoreflect.ValueOfUint64(uint64(i)), complaint
	case protoreflect.Int64Kind:
		i, complaint := integer(n, math.MinInt64, math.MaxInt64)
		return protoreflect.ValueOfInt64(i), complaint
	case protoreflect.DoubleKind:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			return v, "not a number"
		}
		return protoreflect.ValueOfFloat64(f), ""
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.DecodeString(n.Value)
		if err != nil {
			return v, "not base64"
		}
		return protoreflect.ValueOfBytes(b), ""
	case protoreflect.MessageKind:
		return d.wrapped(fd, n, path)
	}
	return v, "cannot be read by this version of sluice"
}

// wrapped reads google.protobuf's messages that stand for a single value.
func (d *decoder) wrapped(fd protoreflect.FieldDescriptor, n *yaml.Node, path string) (v protoreflect.Value, complaint string) {
	if fd.Message().Name() == "Duration" {
		duration, complaint := parseDuration(n)
		return protoreflect.ValueOfMessage(durationpb.New(duration).ProtoReflect()), complaint
	}
	inner := fd.Message().Fields().ByName("value")
	if inner == nil || fd.Message().Fields().Len() != 1 {
		return v, "cannot be read by this version of sluice"
	}
	value, complaint := d.convert(inner, n, path)
	if complaint != "" {
		return v, complaint
	}
	m := newWrapper(fd.Message().Name())
	m.Set(inner, value)
	return protoreflect.ValueOfMessage(m), ""
}

// text reads a string. What YAML reads as something else was probably meant as
// text, but Kubernetes would refuse it: so do we, except for the words that only
// older YAML takes for booleans.
func (d *decoder) text(n *yaml.Node, path string) (v protoreflect.Value, complaint string) {
	switch n.Tag {
	case "!!bool":
		return v, fmt.Sprintf("a boolean where text is wanted; write it in quotes: %q", n.Value)
	case "!!int", "!!float":
		return v, fmt.Sprintf("a number where text is wanted; write it in quotes: %q", n.Value)
	case "!!binary":
		return v, "binary where text is wanted; write plain text"
	}
	if n.Style == 0 && yamltext.OldBoolean(n.Value) {
		d.add(Warning, n, path, n.Value, fmt.Sprintf("read as text, but Kubernetes reads it as a boolean; write it in quotes: %q", n.Value))
	}
	return protoreflect.ValueOfString(n.Value), ""
}

func boolean(n *yaml.Node) (v protoreflect.Value, complaint string) {
	value, ok := yamltext.Boolean(n)
	if !ok {
		return v, "not a boolean; write true or false"
	}
	return protoreflect.ValueOfBool(value), ""
}

// integer reads a decimal number. YAML would read 0443 as octal and 1_000 as a
// thousand; neither is what the author of a port means, so both are refused.
func integer(n *yaml.Node, low, high int64) (int64, string) {
	if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
		digits := strings.TrimLeft(n.Value, "+-")
		if len(digits) > 1 && digits[0] == '0' {
			return 0, fmt.Sprintf("a leading zero means octal in YAML; write %d", i)
		}
		return within(i, low, high)
	}
	if f, err := strconv.ParseFloat(n.Value, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 && !strings.ContainsAny(n.Value, "_xXpP") {
		return within(int64(f), low, high)
	}
	if number, ok := strings.CutSuffix(n.Value, "%"); ok && bareNumber.MatchString(number) {
		return 0, "a number is wanted; write it without the percent sign: " + number
	}
	return 0, fmt.Sprintf("not a decimal whole number; write one from %d to %d", max(low, 0), high)
}

// isPort knows the fields that hold a port.
func isPort(fd protoreflect.FieldDescriptor) bool {
	switch fd.Name() {
	case "port", "number", "target_port":
		return true
	}
	return fd.Parent().Name() == "PortsEntry"
}

func within(i, low, high int64) (int64, string) {
	if i < low || i > high {
		return 0, fmt.Sprintf("out of range; write a number from %d to %d", max(low, 0), high)
	}
	return i, ""
}

// enum reads a name in Istio's spelling, in any other case with a notice, or a number.
func (d *decoder) enum(ed protoreflect.EnumDescriptor, n *yaml.Node, path string) (v protoreflect.Value, complaint string) {
	values := ed.Values()
	if ev := values.ByName(protoreflect.Name(n.Value)); ev != nil {
		return protoreflect.ValueOfEnum(ev.Number()), ""
	}
	if i, err := strconv.ParseInt(n.Value, 10, 32); err == nil {
		if ev := values.ByNumber(protoreflect.EnumNumber(i)); ev != nil {
			d.respell(path, string(ev.Name()), n.Value)
			return protoreflect.ValueOfEnum(ev.Number()), ""
		}
	}
	upper := strings.ToUpper(strings.ReplaceAll(n.Value, "-", "_"))
	if ev := values.ByName(protoreflect.Name(upper)); ev != nil {
		d.add(Notice, n, path, n.Value, fmt.Sprintf("deprecated spelling; write %s", upper))
		d.respell(path, upper, n.Value)
		return protoreflect.ValueOfEnum(ev.Number()), ""
	}
	names := make([]string, values.Len())
	for i := range names {
		names[i] = string(values.Get(i).Name())
	}
	return v, "not known; use one of " + strings.Join(names, ", ")
}
