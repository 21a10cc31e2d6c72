package httpapi

import (
	"net/http"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// The options that carry trace context through WAMP.
const (
	traceParentOption = "_traceparent"
	traceStateOption  = "_tracestate"
)

// traced adds the request's trace context to the options of a call or of a publication, unless they have one. What is no trace
// context is ignored. [W3C trace context 3.2, 3.3]
func traced(r *http.Request, custom wampcore.Attributes) wampcore.Attributes {
	parents := r.Header["Traceparent"]
	if len(parents) != 1 || !validTraceParent(parents[0]) {
		return custom
	}
	for _, a := range custom {
		if a.Key == traceParentOption {
			return custom
		}
	}
	custom = append(custom, attribute(traceParentOption, parents[0]))
	if state := strings.Join(r.Header["Tracestate"], ","); validTraceState(state) {
		custom = append(custom, attribute(traceStateOption, state))
	}
	return custom
}

func attribute(key, text string) wampcore.Attribute {
	w := make([]byte, 0, len(text)+2)
	w = append(w, '"')
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\\' {
			w = append(w, '\\')
		}
		w = append(w, text[i])
	}
	return wampcore.Attribute{Key: key, Value: wampcore.Raw{Encoding: wampcore.JSON, Bytes: append(w, '"')}}
}

// validTraceParent reports whether s is version-traceid-parentid-flags, in lower case, with neither id all zero.
func validTraceParent(s string) bool {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(s) < length || len(s) > 256 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if len(s) > length && (version == "00" || s[length] != '-' || !visible(s[length:])) { // a later version may have more
		return false
	}
	return version != "ff" && lowerHex(version) && lowerHex(trace) && lowerHex(parent) && lowerHex(flags) &&
		strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// maxTraceState is what of a tracestate has to be passed on. A longer one is dropped, as a whole.
const maxTraceState = 512

// validTraceState reports whether s is a list of up to 32 key=value.
func validTraceState(s string) bool {
	if s == "" || len(s) > maxTraceState || !visible(s) {
		return false
	}
	members := 0
	for member := range strings.SplitSeq(s, ",") {
		if member = strings.Trim(member, " \t"); member == "" {
			continue
		}
		key, value, ok := strings.Cut(member, "=")
		if members++; !ok || members > 32 || value == "" || strings.Contains(value, "=") || !validStateKey(key) {
			return false
		}
	}
	return members > 0
}

func validStateKey(key string) bool {
	return key != "" && len(key) <= 256 && (lowerHex(key[:1]) || key[0] >= 'g' && key[0] <= 'z') &&
		strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_-*/@") == ""
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
