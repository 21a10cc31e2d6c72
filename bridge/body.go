package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// maxDepth is how deep a body may be nested.
const maxDepth = 64

// BodyError is a body that is not what it has to be. Its text teaches what it should be.
type BodyError struct{ Detail string }

// Error returns what is wrong.
func (e *BodyError) Error() string { return e.Detail }

func badBody(format string, args ...any) error { return &BodyError{fmt.Sprintf(format, args...)} }

// CallRequest is what a body says of a call.
type CallRequest struct {
	Payload wampcore.Payload
	Options wampcore.CallOptions
}

// PublishRequest is what a body says of a publication.
type PublishRequest struct {
	Payload wampcore.Payload
	Options wampcore.PublishOptions
}

// As is how a bare body is to be taken: as the envelope, or as one part of it.
type As string

// The ways to take a body.
const (
	AsEnvelope As = ""
	AsArgs     As = "args"
	AsKwargs   As = "kwargs"
	AsValue    As = "value"
)

// The options that a body may have, in the order in which an error lists them.
var (
	callOptions    = []string{"disclose_me", "rkey", "runmode", "timeout"}                                                                                                               //nolint:gochecknoglobals // a constant table
	publishOptions = []string{"acknowledge", "disclose_me", "eligible", "eligible_authid", "eligible_authrole", "exclude", "exclude_authid", "exclude_authrole", "exclude_me", "retain"} //nolint:gochecknoglobals // a constant table
)

// ParseCall takes a call's body apart. Arguments are not decoded: they stay the bytes that came.
func ParseCall(body []byte, as As) (CallRequest, error) {
	p, options, err := parse(body, as, callOptions)
	if err != nil || len(options) == 0 {
		return CallRequest{Payload: p}, err
	}
	m, err := decodeOptions(`[48,1,%s,"x"]`, options)
	call, ok := m.(*wampcore.Call)
	if err != nil || !ok {
		return CallRequest{}, err
	}
	return CallRequest{Payload: p, Options: call.Options}, nil
}

// ParsePublish takes a publication's body apart. It is acknowledged unless it says otherwise.
func ParsePublish(body []byte, as As) (PublishRequest, error) {
	p, options, err := parse(body, as, publishOptions)
	if err != nil {
		return PublishRequest{}, err
	}
	req := PublishRequest{Payload: p}
	req.Options.Acknowledge = true
	if len(options) == 0 {
		return req, nil
	}
	m, err := decodeOptions(`[16,1,%s,"x"]`, options)
	publish, ok := m.(*wampcore.Publish)
	if err != nil || !ok {
		return PublishRequest{}, err
	}
	req.Options = publish.Options
	if members, _ := members(options); members["acknowledge"] == nil {
		req.Options.Acknowledge = true
	}
	return req, nil
}

// decodeOptions lets the protocol's decoder do it: the types are the same as for a native client.
func decodeOptions(frame string, options []byte) (wampcore.Message, error) {
	m, err := new(wampcore.Decoder).Decode(wampcore.JSON, fmt.Appendf(nil, frame, options))
	if v, ok := errors.AsType[*wampcore.ProtocolError](err); ok {
		_, detail, _ := strings.Cut(v.Message, ": ")
		return nil, badBody("%s", strings.Replace(detail, "Options.", "options.", 1))
	}
	return m, err
}

func parse(body []byte, as As, known []string) (p wampcore.Payload, options []byte, err error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return p, nil, nil
	}
	if err := check(body); err != nil {
		return p, nil, err
	}
	p.Encoding = wampcore.JSON
	switch as {
	case AsEnvelope:
	case AsArgs:
		p.Args, err = part("the body", body, '[')
		return p, nil, err
	case AsKwargs:
		p.Kwargs, err = part("the body", body, '{')
		return p, nil, err
	case AsValue:
		p.Args = fmt.Appendf(nil, "[%s]", body)
		return p, nil, nil
	default:
		return p, nil, badBody("as=%s is not known; it is args, kwargs or value", as)
	}
	all, err := members(body)
	if err != nil {
		return p, nil, err
	}
	for name := range all {
		if name != "args" && name != "kwargs" && name != "options" {
			return p, nil, badBody("unknown member %q; wrap it in \"kwargs\" or add ?as=kwargs", name)
		}
	}
	if p.Args, err = part("args", all["args"], '['); err != nil {
		return p, nil, err
	}
	if p.Kwargs, err = part("kwargs", all["kwargs"], '{'); err != nil {
		return p, nil, err
	}
	if options, err = part("options", all["options"], '{'); err != nil || options == nil {
		return p, nil, err
	}
	return p, options, checkOptions(options, known)
}

// part returns a list or an object, nil if it is missing, null or empty.
func part(name string, raw []byte, open byte) ([]byte, error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case raw[0] != open:
		return nil, badBody("%s is not %s", name, map[byte]string{'[': "a list", '{': "an object"}[open])
	case len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0:
		return nil, nil
	}
	return raw, nil
}

func checkOptions(options []byte, known []string) error {
	all, err := members(options)
	if err != nil {
		return err
	}
	for name := range all {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "_") {
			return badBody("unknown option %q; known are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// check refuses what is not one JSON value, or nested too deep.
func check(body []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return badBody("the body is nested deeper than %d levels", maxDepth)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	if err := wampcore.Scan(wampcore.JSON, body); err != nil {
		return badBody("the body is not one JSON value: %v", err)
	}
	return nil
}

// members returns an object's members, undecoded. body was checked.
func members(body []byte) (map[string]json.RawMessage, error) {
	if body[0] != '{' {
		return nil, badBody(`the body is no object {"args":[…],"kwargs":{…},"options":{…}}; add ?as=args or ?as=value`)
	}
	all := map[string]json.RawMessage{}
	dec := json.NewDecoder(bytes.NewReader(body))
	_, err := dec.Token()
	for err == nil && dec.More() {
		var name json.Token
		if name, err = dec.Token(); err != nil {
			break
		}
		key, _ := name.(string)
		if _, twice := all[key]; twice {
			return nil, badBody("the member %q is there twice", key)
		}
		var raw json.RawMessage
		if err = dec.Decode(&raw); err == nil {
			all[key] = raw
		}
	}
	if err != nil {
		return nil, badBody("the body is no JSON object: %v", err)
	}
	return all, nil
}

// EncodeResult returns {"args":[…],"kwargs":{…}}, without what is absent.
func EncodeResult(p wampcore.Payload) []byte {
	p = p.Transcode(wampcore.JSON)
	b := []byte{'{'}
	if len(p.Args) > 0 {
		b = append(append(b, `"args":`...), p.Args...)
	}
	if len(p.Kwargs) > 0 {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, `"kwargs":`...), p.Kwargs...)
	}
	return append(b, '}')
}

// FirstArg returns the first argument in JSON, null if there is none.
func FirstArg(p wampcore.Payload) []byte {
	var list []json.RawMessage
	if err := json.Unmarshal(p.Transcode(wampcore.JSON).Args, &list); err != nil || len(list) == 0 {
		return []byte("null")
	}
	return list[0]
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
