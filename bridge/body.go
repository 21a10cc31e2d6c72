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
func ParseCall(body wampcore.Raw, as As) (CallRequest, error) {
	env, err := parse(body, as, "")
	if err != nil {
		return CallRequest{}, err
	}
	return env.call()
}

// The options of the parts of a call: the first has all, the others say whether they are the last.
var (
	firstPartOptions = append([]string{"progress"}, callOptions...) //nolint:gochecknoglobals // a constant table
	partOptions      = []string{"progress"}                         //nolint:gochecknoglobals // a constant table
)

// ParsePart takes a part of a call apart. It is the last one if it says so, by the option progress.
func ParsePart(body wampcore.Raw, as As, first bool) (req CallRequest, final bool, err error) {
	env, err := parse(body, as, "")
	req.Payload = env.payload
	if err != nil || len(env.options.Bytes) == 0 {
		return req, false, err
	}
	known := partOptions
	if first {
		known = firstPartOptions
	}
	said, err := checkOptions(env.options, known, "progress")
	if err == nil {
		req.Options, err = env.options.CallOptions()
	}
	return req, said && !req.Options.Progress, optionsError(err)
}

// ParsePublish takes a publication's body apart. It is acknowledged unless it says otherwise.
func ParsePublish(body wampcore.Raw, as As) (PublishRequest, error) {
	env, err := parse(body, as, "")
	if err != nil {
		return PublishRequest{}, err
	}
	return env.publish()
}

// CallItem is one call of a batch.
type CallItem struct {
	Procedure wampcore.URI
	CallRequest
}

// PublishItem is one publication of a batch.
type PublishItem struct {
	Topic wampcore.URI
	PublishRequest
}

// ParseCalls takes a list of at most most calls apart.
func ParseCalls(body wampcore.Raw, most int) ([]CallItem, error) {
	return parseBatch(body, "procedure", most, func(env *envelope) (CallItem, error) {
		req, err := env.call()
		return CallItem{wampcore.URI(env.uri), req}, err
	})
}

// ParsePublications takes a list of at most most publications apart.
func ParsePublications(body wampcore.Raw, most int) ([]PublishItem, error) {
	return parseBatch(body, "topic", most, func(env *envelope) (PublishItem, error) {
		req, err := env.publish()
		return PublishItem{wampcore.URI(env.uri), req}, err
	})
}

// parseBatch takes a list apart. It is refused as a whole if any of it is not what it has to be.
func parseBatch[T any](body wampcore.Raw, uri string, most int, item func(*envelope) (T, error)) ([]T, error) {
	body, err := checked(body)
	if err != nil {
		return nil, err
	}
	if len(body.Bytes) == 0 {
		body = wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte("null")}
	}
	elements, ok := body.List()
	if !ok {
		return nil, badBody(`the body is no list [{"%s":…,"args":[…],"kwargs":{…},"options":{…}}]; for one alone, put its %[1]s into the path`, uri)
	}
	var all []T
	for v, more := elements.Next(); more; v, more = elements.Next() {
		if len(all) == most {
			return nil, badBody("the list has more than the %d elements that it may have", most)
		}
		env := envelope{payload: wampcore.Payload{Encoding: v.Encoding}}
		err := env.open(v, uri)
		var t T
		if err == nil {
			t, err = item(&env)
		}
		if err != nil {
			return nil, badBody("element %d: %v", len(all), err)
		}
		all = append(all, t)
	}
	return all, nil
}

// envelope is a body, or an element of a batch, in its parts.
type envelope struct {
	uri     []byte // of a batch's element
	payload wampcore.Payload
	options wampcore.Raw
}

func (env *envelope) call() (CallRequest, error) {
	req := CallRequest{Payload: env.payload}
	if len(env.options.Bytes) == 0 {
		return req, nil
	}
	_, err := checkOptions(env.options, callOptions, "")
	if err == nil {
		req.Options, err = env.options.CallOptions()
	}
	return req, optionsError(err)
}

func (env *envelope) publish() (PublishRequest, error) {
	req := PublishRequest{Payload: env.payload}
	if len(env.options.Bytes) == 0 {
		req.Options.Acknowledge = true
		return req, nil
	}
	given, err := checkOptions(env.options, publishOptions, "acknowledge")
	if err == nil {
		req.Options, err = env.options.PublishOptions()
	}
	req.Options.Acknowledge = req.Options.Acknowledge || !given
	return req, optionsError(err)
}

// optionsError says what the protocol's decoder says: the types are the same as for a native client.
func optionsError(err error) error {
	if v, ok := errors.AsType[*wampcore.ProtocolError](err); ok {
		_, detail, _ := strings.Cut(v.Message, ": ")
		return badBody("%s", strings.Replace(detail, "Options", "options", 1))
	}
	return err
}

// parse takes a body apart. uri names the member that has a batch's procedure or topic, empty where there is none.
func parse(body wampcore.Raw, as As, uri string) (env envelope, err error) {
	body, err = checked(body)
	if err != nil || len(body.Bytes) == 0 {
		return env, err
	}
	env.payload.Encoding = body.Encoding
	switch as {
	case AsEnvelope:
		return env, env.open(body, uri)
	case AsArgs:
		env.payload.Args, err = list("the body", body)
	case AsKwargs:
		env.payload.Kwargs, err = dict("the body", body)
	case AsValue:
		env.payload.Args = listOfOne(body)
	default:
		err = badBody("as=%s is not known; it is args, kwargs or value", as)
	}
	return env, err
}

func listOfOne(v wampcore.Raw) []byte {
	switch v.Encoding {
	case wampcore.JSON:
		return slices.Concat([]byte{'['}, v.Bytes, []byte{']'})
	case wampcore.MessagePack:
		return slices.Concat([]byte{0x91}, v.Bytes)
	default:
		return slices.Concat([]byte{0x81}, v.Bytes)
	}
}

// checked returns a body without the white space around it. It refuses what is not one value, or nested too deep.
func checked(body wampcore.Raw) (wampcore.Raw, error) {
	if body.Encoding == wampcore.JSON {
		body.Bytes = bytes.Trim(body.Bytes, " \t\r\n")
	}
	if len(body.Bytes) == 0 {
		return wampcore.Raw{}, nil
	}
	err := wampcore.Scan(body.Encoding, body.Bytes)
	if errors.Is(err, wampcore.ErrDepth) || err == nil && body.Depth() > maxDepth {
		return body, badBody("the body is nested deeper than %d levels", maxDepth)
	}
	if err != nil {
		return body, badBody("the body is not one %s value: %v", formatName(body.Encoding), err)
	}
	return body, nil
}

func formatName(e wampcore.Encoding) string {
	return map[wampcore.Encoding]string{wampcore.JSON: "JSON", wampcore.MessagePack: "MessagePack", wampcore.CBOR: "CBOR"}[e]
}

// open takes the members of an object that was checked.
func (env *envelope) open(body wampcore.Raw, uri string) error {
	members, ok := body.Dict()
	if !ok {
		return notEnvelope(uri)
	}
	const args, kwargs, options, name = 1, 2, 4, 8
	seen := 0
	for key, more := members.Next(); more; key, more = members.Next() {
		text, isText := key.Text()
		if !isText {
			return badBody("a name of a member is no text")
		}
		v, _ := members.Next()
		var member int
		var err error
		switch {
		case string(text) == "args":
			member = args
			env.payload.Args, err = list("args", v)
		case string(text) == "kwargs":
			member = kwargs
			env.payload.Kwargs, err = dict("kwargs", v)
		case string(text) == "options":
			member = options
			env.options.Encoding = v.Encoding
			env.options.Bytes, err = dict("options", v)
		case uri != "" && string(text) == uri:
			member = name
			if env.uri, ok = v.Text(); !ok {
				err = badBody("%s is no text", uri)
			}
		default:
			err = unknownMember(uri, text)
		}
		switch {
		case err != nil:
			return err
		case seen&member != 0:
			return badBody("the member %q is there twice", text)
		}
		seen |= member
	}
	if uri != "" && seen&name == 0 {
		return badBody("%s is missing", uri)
	}
	return nil
}

func notEnvelope(uri string) error {
	if uri != "" {
		return badBody(`it is no object {"%s":…,"args":[…],"kwargs":{…},"options":{…}}`, uri)
	}
	return badBody(`the body is no object {"args":[…],"kwargs":{…},"options":{…}}; add ?as=args or ?as=value`)
}

func unknownMember(uri string, name []byte) error {
	if uri != "" {
		return badBody("unknown member %q; known are %s, args, kwargs, options", name, uri)
	}
	return badBody("unknown member %q; wrap it in \"kwargs\" or add ?as=kwargs", name)
}

// list returns a list, nil if it is missing, null or empty.
func list(name string, v wampcore.Raw) ([]byte, error) {
	if v.Null() {
		return nil, nil
	}
	c, ok := v.List()
	if !ok {
		return nil, badBody("%s is not a list", name)
	}
	return unlessEmpty(v, c), nil
}

// dict returns an object, nil if it is missing, null or empty.
func dict(name string, v wampcore.Raw) ([]byte, error) {
	if v.Null() {
		return nil, nil
	}
	c, ok := v.Dict()
	if !ok {
		return nil, badBody("%s is not an object", name)
	}
	return unlessEmpty(v, c), nil
}

func unlessEmpty(v wampcore.Raw, c wampcore.Cursor) []byte {
	if _, some := c.Next(); some {
		return v.Bytes
	}
	return nil
}

// checkOptions refuses options that are not known. It reports whether the one that is asked for is there.
func checkOptions(options wampcore.Raw, known []string, asked string) (given bool, err error) {
	c, _ := options.Dict()
	for key, more := c.Next(); more; key, more = c.Next() {
		name, _ := key.Text()
		if !slices.Contains(known, string(name)) && !bytes.HasPrefix(name, []byte("_")) {
			return false, badBody("unknown option %q; known are %s", name, strings.Join(known, ", "))
		}
		v, _ := c.Next()
		given = given || string(name) == asked && !v.Null()
	}
	return given, nil
}

// EncodeResult returns {"args":[…],"kwargs":{…}}, without what is absent.
func EncodeResult(p wampcore.Payload) []byte { return AppendResult(nil, wampcore.JSON, p) }

// AppendResult appends {"args":[…],"kwargs":{…}}, without what is absent, in an encoding.
func AppendResult(b []byte, e wampcore.Encoding, p wampcore.Payload) []byte {
	p = p.Transcode(e)
	b = slices.Grow(b, p.Size()+len(`{"args":,"kwargs":}`))
	if e != wampcore.JSON {
		return appendBinaryResult(b, e, p)
	}
	b = append(b, '{')
	if len(p.Args) > 0 {
		b = append(append(b, `"args":`...), p.Args...)
	}
	if len(p.Kwargs) > 0 {
		if len(p.Args) > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `"kwargs":`...), p.Kwargs...)
	}
	return append(b, '}')
}

func appendBinaryResult(b []byte, e wampcore.Encoding, p wampcore.Payload) []byte {
	dict, text := byte(0x80), byte(0xa0) // the heads of short dicts and strings
	if e == wampcore.CBOR {
		dict, text = 0xa0, 0x60
	}
	head := len(b)
	b = append(b, dict)
	for _, m := range []struct {
		name  string
		value []byte
	}{{"args", p.Args}, {"kwargs", p.Kwargs}} {
		if len(m.value) > 0 {
			b[head]++
			b = append(b, text|byte(len(m.name)))
			b = append(append(b, m.name...), m.value...)
		}
	}
	return b
}

// FirstArg returns the first argument in JSON, null if there is none.
func FirstArg(p wampcore.Payload) []byte { return FirstArgIn(p, wampcore.JSON) }

// FirstArgIn returns the first argument in an encoding, null if there is none.
func FirstArgIn(p wampcore.Payload, e wampcore.Encoding) []byte {
	first := p.First()
	if len(first.Bytes) == 0 {
		first = wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte("null")}
	}
	return Transcode(first, e)
}

// Transcode returns a value in another encoding.
func Transcode(v wampcore.Raw, e wampcore.Encoding) []byte {
	return wampcore.Payload{Encoding: v.Encoding, Args: v.Bytes}.Transcode(e).Args
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
