package bridge

import (
	"bytes"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

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
	if err := checkKeys(name, c); err != nil {
		return nil, err
	}
	return unlessEmpty(v, c), nil
}

// checkKeys refuses keys that are no texts, and one that is there more than once: who reads it may take either value. What is nested deeper is
// the applications'.
func checkKeys(name string, c wampcore.Cursor) error {
	var few [16][]byte // most have no more
	var many map[string]struct{}
	for n := 0; ; n++ {
		k, more := c.Next()
		if !more {
			return nil
		}
		key, isText := k.Text()
		if !isText {
			return badBody("a key of %s is no text", name)
		}
		_, _ = c.Next()
		_, twice := many[string(key)]
		if twice || slices.ContainsFunc(few[:min(n, len(few))], func(s []byte) bool { return bytes.Equal(s, key) }) {
			return badBody("the key %q is there twice in %s", key, name)
		}
		if n < len(few) {
			few[n] = key
			continue
		}
		if many == nil {
			many = map[string]struct{}{}
		}
		many[string(key)] = struct{}{}
	}
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
