package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Warning is something accepted that an operator should still hear about.
type Warning struct {
	Field string
	Text  string
}

func (w Warning) String() string { return w.Field + " " + w.Text }

// Set changes one field from text, as a flag or an annotation brings it. On an
// error the field keeps its value.
func (c *Config) Set(name, text string) ([]Warning, error) {
	f, err := fieldNamed(name)
	if err != nil {
		return nil, err
	}
	return c.assign(f, value{text: text}, text)
}

// Parse reads a JSON object of Config's fields over Default, and validates it.
// All errors come at once.
func Parse(data []byte) (Config, []Warning, error) {
	object, err := Members(data)
	if err != nil {
		return Config{}, nil, err
	}
	return Decode(object)
}

// Decode is Parse for an object that is split into its members already.
func Decode(object map[string]json.RawMessage) (Config, []Warning, error) {
	c, warnings, err := DecodeValues(object)
	// A combination can only be judged once every value is known.
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Config{}, warnings, err
	}
	return c, append(warnings, c.Doubts()...), nil
}

// DecodeValues is Decode for a caller who goes on with Set, and then judges the
// combination by Validate and Doubts.
func DecodeValues(object map[string]json.RawMessage) (Config, []Warning, error) {
	c := Default()
	var warnings []Warning
	var errs []error
	for _, f := range fields() {
		raw, given := object[f.Name]
		if !given {
			continue
		}
		v, err := jsonValue(raw)
		if err != nil {
			errs = append(errs, fieldErrors(f.Name, shown(raw), err))
			continue
		}
		w, err := c.assign(f, v, shown(raw))
		warnings = append(warnings, w...)
		errs = append(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if _, err := fieldNamed(name); err != nil {
			errs = append(errs, err)
		}
	}
	return c, warnings, errors.Join(errs...)
}

func (c *Config) assign(f Field, v value, written string) ([]Warning, error) {
	notes, err := f.set(c, v)
	var warnings []Warning
	for _, n := range notes {
		warnings = append(warnings, Warning{f.Name, n})
	}
	if err != nil {
		return warnings, fieldErrors(f.Name, written, err)
	}
	return warnings, nil
}

// fieldErrors puts the field's name before each error of err: before the element
// it is about, or with the whole value when it is about that.
func fieldErrors(name, written string, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, fieldErrors(name, written, e))
		}
		return errors.Join(out...)
	}
	if strings.HasPrefix(err.Error(), "element ") {
		return fmt.Errorf("%s %w", name, err)
	}
	return fmt.Errorf("%s %q: %w", name, written, err)
}

// shown is a JSON value as a person wrote it: a string without its quotes.
func shown(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && bytes.TrimSpace(raw)[0] == '"' {
		return s
	}
	return string(bytes.TrimSpace(raw))
}

func fieldNamed(name string) (Field, error) {
	hint := ""
	for _, f := range fields() {
		if f.Name == name {
			return f, nil
		}
		if strings.EqualFold(f.Name, name) || strings.EqualFold(strings.TrimSuffix(f.Name, "s"), name) || strings.EqualFold(f.Name+"s", name) {
			hint = "; did you mean " + f.Name
		}
	}
	return Field{}, fmt.Errorf("%s: unknown field; remove it or correct its name%s", name, hint)
}

// Members splits a JSON object, refusing a key that comes twice: which of the two
// would count is a matter of luck.
func Members(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object; write { \"includeIPRanges\": ... }")
	}
	out := map[string]json.RawMessage{}
	var errs []error
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not valid JSON: %w", err)
		}
		name := key.(string) // the decoder lets nothing else be a key
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("not valid JSON after %q: %w", name, err)
		}
		if _, twice := out[name]; twice {
			errs = append(errs, fmt.Errorf("%s: given twice; remove one", name))
		}
		out[name] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("not valid JSON: something follows the object")
	}
	return out, errors.Join(errs...)
}

// MarshalJSON writes every field, in the form that Parse reads.
func (c Config) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, f := range fields() {
		b.WriteString([]string{"{", ","}[min(i, 1)])
		fmt.Fprintf(&b, "%q:", f.Name)
		text, err := json.Marshal(f.get(c))
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON is Parse without the warnings.
func (c *Config) UnmarshalJSON(data []byte) error {
	parsed, _, err := Parse(data)
	if err == nil {
		*c = parsed
	}
	return err
}

// Hash names the meaning of the configuration: configs that mean the same hash
// alike, whatever form they were written in.
func (c Config) Hash() string {
	c = c.canonical()
	named := namedAddresses(c).Merged()
	c.IncludeIPRanges = c.included().Merged()
	data, err := c.MarshalJSON()
	if err != nil {
		panic("rules: a string that is no JSON: " + err.Error())
	}
	sum := sha256.Sum256(fmt.Appendf(data, "%s", named))
	return hex.EncodeToString(sum[:])
}

// canonical sorts and merges the lists of a Config that was built in code. The
// include ranges stay as written: a single address in them means more than its
// being part of a wider range (see namedAddresses).
func (c Config) canonical() Config {
	c.ExcludeIPRanges, c.DNSServers = c.ExcludeIPRanges.Merged(), c.DNSServers.Merged()
	c.IncludeOutboundPorts, c.ExcludeOutboundPorts = mergePorts(c.IncludeOutboundPorts), mergePorts(c.ExcludeOutboundPorts)
	c.ExemptUIDs, c.ExemptGIDs = sortedSet(c.ExemptUIDs), sortedSet(c.ExemptGIDs)
	c.OwnerGroupsInclude.IDs, c.OwnerGroupsExclude = sortedSet(c.OwnerGroupsInclude.IDs), sortedSet(c.OwnerGroupsExclude)
	c.IncludeInboundPorts, c.ExcludeInboundPorts = mergePorts(c.IncludeInboundPorts), mergePorts(c.ExcludeInboundPorts)
	c.ExcludeInterfaces, c.RerouteInterfaces = sortedSet(c.ExcludeInterfaces), sortedSet(c.RerouteInterfaces)
	c.ExemptCgroups = sortedSet(c.ExemptCgroups)
	return c
}
