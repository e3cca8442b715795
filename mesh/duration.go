package mesh

import (
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// parseDuration reads a duration in any spelling that Istio takes: 3s, 100ms,
// 1m, 1h30m, 0.5s.
func parseDuration(n *yaml.Node) (time.Duration, string) {
	text := strings.TrimSpace(n.Value)
	duration, err := time.ParseDuration(text)
	switch {
	case text == "0" || bareNumber.MatchString(text):
		return 0, "a duration without a unit; write " + text + "s for seconds or " + text + "ms for milliseconds"
	case err != nil && bareNumber.MatchString(strings.TrimSuffix(text, "d")):
		return 0, "not a duration; days are written in hours: 24h"
	case err != nil:
		return 0, "not a duration; write one like 3s, 100ms, 1m or 1h30m"
	}
	return duration, ""
}

// newWrapper makes the google.protobuf message of that name.
func newWrapper(name protoreflect.Name) protoreflect.Message {
	switch name {
	case "BoolValue":
		return new(wrapperspb.BoolValue).ProtoReflect()
	case "DoubleValue":
		return new(wrapperspb.DoubleValue).ProtoReflect()
	default: // the only other one in Istio's networking API
		return new(wrapperspb.UInt32Value).ProtoReflect()
	}
}
