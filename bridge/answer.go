package bridge

import "github.com/wampgate/wampgate/wampcore"

// YieldRequest is what a body says of an answer.
type YieldRequest struct {
	Payload  wampcore.Payload
	Progress bool // more is to come
}

// ParseYield takes an answer's body apart.
func ParseYield(body wampcore.Raw, as As) (YieldRequest, error) {
	env, err := parse(body, as, "")
	req := YieldRequest{Payload: env.payload}
	if err != nil || len(env.options.Bytes) == 0 {
		return req, err
	}
	if _, err := checkOptions(env.options, []string{"progress"}, ""); err != nil {
		return req, err
	}
	var options struct {
		Progress any `codec:"progress"`
	}
	if err := env.options.Decode(&options); err != nil {
		return req, badBody("options: %v", err)
	}
	var ok bool
	if req.Progress, ok = options.Progress.(bool); !ok && options.Progress != nil {
		return req, badBody("options.progress is not a boolean")
	}
	return req, nil
}

// ParseError takes the body of an answer that is an error apart: {"error":…,"args":[…],"kwargs":{…}}.
func ParseError(body wampcore.Raw) (*wampcore.Error, error) {
	env, err := parse(body, AsEnvelope, "error")
	uri := wampcore.URI(env.uri)
	switch {
	case err != nil:
		return nil, err
	case len(env.options.Bytes) > 0:
		return nil, badBody("an error has no options")
	case !uri.Valid(false):
		return nil, badBody(`want {"error":…,"args":[…],"kwargs":{…}}, where error is a URI such as com.example.error.not_found`)
	}
	return &wampcore.Error{URI: uri, Payload: env.payload}, nil
}
