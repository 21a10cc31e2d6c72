package bridge

import (
	"bytes"
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
	if as != AsEnvelope && as != AsArgs && as != AsKwargs && as != AsValue {
		return env, badBody("as=%s is not known; it is args, kwargs or value", as)
	}
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
