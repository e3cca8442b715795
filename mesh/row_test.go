package mesh

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// everyField calls f with the general path of each field of a message, itself and
// what is inside.
func everyField(m protoreflect.MessageDescriptor, path string, f func(path string, leaf bool)) {
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		here := path + "." + fd.JSONName()
		if fd.IsList() || fd.IsMap() {
			f(here, false)
			here += "[]"
		}
		if fd.IsMap() {
			fd = fd.MapValue()
		}
		leaf := fd.Message() == nil || isScalarMessage(fd)
		f(here, leaf)
		if !leaf {
			everyField(fd.Message(), here, f)
		}
	}
}

func TestEveryFieldOfTheAPIIsInOneRow(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		var fields []string
		everyField(emptySpecs[kind]().ProtoReflect().Descriptor(), "spec", func(path string, leaf bool) {
			fields = append(fields, path)
			if !leaf {
				return
			}
			var ids []string
			for p := path; p != ""; p = parentPath(p) {
				if row := supported[kind][p]; row != nil {
					ids = append(ids, row.ID)
				}
			}
			if len(ids) != 1 {
				t.Errorf("%s %s is in the rows %q; give it one", kind, path, ids)
			}
		})
		for path, row := range supported[kind] {
			if path != "spec" && !slices.Contains(fields, path) {
				t.Errorf("%s has no field %s (row %v)", kind, path, row)
			}
		}
	}
}

func TestRowsAreWhole(t *testing.T) {
	t.Parallel()
	ids, fields := make(map[string]bool), make(map[[3]string]string)
	for _, row := range Rows {
		if ids[row.ID] {
			t.Errorf("%s is there twice", row.ID)
		}
		ids[row.ID] = true
		if row.Stance == Differs && row.Says == "" || row.Stance == Reported && row.Says == "" {
			t.Errorf("%s does not say how", row.ID)
		}
		if row.Priority == "P2" && row.Stance == Refused && row.Says == "" {
			t.Errorf("%s does not say why", row.ID)
		}
		if !slices.Contains([]string{"P0", "P1", "P2", "N/A"}, row.Priority) {
			t.Errorf("%s has the priority %q", row.ID, row.Priority)
		}
		for _, pattern := range row.Fields {
			for _, field := range alternatives(pattern) {
				key := [3]string{row.Kind, field, row.Value}
				if other, twice := fields[key]; twice {
					t.Errorf("%s and %s are about the same field %s", row.ID, other, field)
				}
				fields[key] = row.ID
			}
		}
	}
}

// sample is a document with one field written.
func sample(t *testing.T, kind, field, value string) []byte {
	t.Helper()
	object := map[string]any{
		"apiVersion": apiVersions[0], "kind": kind, "metadata": map[string]any{"name": "sample"}, "spec": map[string]any{},
	}
	if field == statusAddresses {
		object["status"] = map[string]any{"addresses": []any{map[string]any{"value": "240.240.0.1"}}}
	} else {
		m := emptySpecs[kind]().ProtoReflect().Descriptor()
		object["spec"] = sampleMessage(t, m, strings.Split(field, "."), value)
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sampleMessage(t *testing.T, m protoreflect.MessageDescriptor, field []string, value string) map[string]any {
	t.Helper()
	if len(field) == 0 {
		if m.Name() == "ConsistentHashLB" { // empty, it is an error of its own
			return map[string]any{"useSourceIp": true}
		}
		return map[string]any{}
	}
	name := strings.TrimSuffix(field[0], "[]")
	fd := m.Fields().ByJSONName(name)
	if fd == nil {
		t.Fatalf("%s has no field %s", m.Name(), name)
	}
	inner := fd
	if fd.IsMap() {
		inner = fd.MapValue()
	}
	var v any
	if inner.Message() != nil && !isScalarMessage(inner) {
		v = sampleMessage(t, inner.Message(), field[1:], value)
	} else if v = value; value == "" {
		v = sampleScalar(inner)
	}
	switch {
	case fd.IsMap():
		v = map[string]any{"x": v}
	case fd.IsList():
		v = []any{v}
	}
	return map[string]any{name: v}
}

func sampleScalar(fd protoreflect.FieldDescriptor) any {
	switch fd.Kind() {
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return string(values.Get(values.Len() - 1).Name())
	case protoreflect.BoolKind:
		return true
	case protoreflect.StringKind:
		return "x"
	case protoreflect.MessageKind:
		switch fd.Message().Name() {
		case "Duration":
			return "1s"
		case "BoolValue":
			return true
		}
	}
	return 1
}

func TestEveryFieldThatIsNotFollowedIsReported(t *testing.T) {
	t.Parallel()
	for _, row := range Rows {
		if row.Value == "" && row.Stance <= Differs || row.Value != "" && row.Instead == "" {
			continue // there is nothing to report
		}
		t.Run(row.ID, func(t *testing.T) {
			t.Parallel()
			severity := map[Stance]Severity{Differs: Notice, Reported: Warning, Refused: Error}[row.Stance]
			for _, pattern := range row.Fields {
				for _, field := range alternatives(pattern) {
					_, issues := Decode("sample.json", sample(t, row.Kind, field, row.Value), DecodeOptions{})
					if !slices.ContainsFunc(issues, func(i Issue) bool {
						return i.Severity == severity && strings.TrimPrefix(general(i.Field), "spec.") == field &&
							strings.Contains(i.Message, row.Says) && strings.Contains(i.Message, row.Instead)
					}) {
						t.Errorf("%s is not reported:\n%s", field, issues)
					}
				}
			}
		})
	}
}

func TestAFollowedFieldIsNotCalledUnsupported(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for path, row := range supported[kind] {
			if row == nil || row.Stance > Differs {
				continue
			}
			_, issues := Decode("sample.json", sample(t, kind, strings.TrimPrefix(path, "spec."), ""), DecodeOptions{})
			for _, i := range issues {
				if strings.Contains(i.Message, "not supported") && general(i.Field) == path {
					t.Errorf("%s %s: %s", kind, path, i)
				}
			}
		}
	}
}

func TestEveryIstioKindIsFollowedOrWarnedOf(t *testing.T) {
	t.Parallel()
	for _, kind := range slices.Sorted(maps.Keys(foreignKinds)) {
		object := map[string]any{"apiVersion": foreignKinds[kind].group + "/v1", "kind": kind, "metadata": map[string]any{"name": "x"}}
		data, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		resources, issues := Decode("x.json", data, DecodeOptions{})
		if len(resources) != 0 || len(issues) != 1 || issues[0].Severity != Warning || !strings.Contains(issues[0].Message, "not followed: ") {
			t.Errorf("%s: %v, %v", kind, resources, issues)
		}
	}
}
