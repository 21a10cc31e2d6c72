package bridge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

func inJSON(s string) wampcore.Raw { return wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(s)} }

func TestBodyThatIsNoEnvelopeIsRefusedInEveryEncoding(t *testing.T) {
	for body, want := range map[string]string{
		`[1]`:                                 "add ?as=args",
		`{"name":1}`:                          `unknown member "name"`,
		`{"args":[1],"args":[2]}`:             `"args" is there twice`,
		`{"args":{}}`:                         "args is not a list",
		`{"kwargs":[]}`:                       "kwargs is not an object",
		`{"kwargs":{"a":1,"\u0061":2}}`:       `the key "a" is there twice in kwargs`,
		`{"kwargs":` + object(40, 3) + `}`:    `the key "3" is there twice in kwargs`,
		`{"kwargs":` + object(40, 30) + `}`:   `the key "30" is there twice in kwargs`,
		`{"options":{"retain":true}}`:         `unknown option "retain"`,
		`{"options":{"timeout":-1}}`:          "timeout",
		`{"options":{"timeout":"soon"}}`:      "options.timeout is not an integer",
		`{"options":{"rkey":"a","rkey":"b"}}`: "twice",
		`{"args":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`: "nested deeper than 64",
	} {
		for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
			_, err := bridge.ParseCall(wampcore.Raw{Encoding: e, Bytes: bridge.Transcode(inJSON(body), e)}, bridge.AsEnvelope)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s in %s: got %v, want %s", body, e, err, want)
			}
		}
	}
	for e, body := range map[wampcore.Encoding]string{wampcore.CBOR: "\xa1\x44args\x80", wampcore.MessagePack: "\x81\xc4\x04args\x90"} {
		for as, want := range map[bridge.As]string{bridge.AsEnvelope: "name of a member is no text", bridge.AsKwargs: "a key of the body is no text"} {
			_, err := bridge.ParseCall(wampcore.Raw{Encoding: e, Bytes: []byte(body)}, as)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a binary key in %s: got %v", e, err)
			}
		}
	}
	if _, err := bridge.ParseCall(inJSON(object(40, -1)), bridge.AsKwargs); err != nil {
		t.Errorf("many keys: %v", err)
	}
	for _, body := range []string{`{} {}`, `{"args":[1]`, `{"args":[01]}`} {
		if _, err := bridge.ParseCall(inJSON(body), bridge.AsEnvelope); err == nil {
			t.Errorf("%s is taken", body)
		}
	}
}

// object has n keys, and one of them again.
func object(n, again int) string {
	b := []byte("{")
	for i := range n {
		b = fmt.Appendf(b, `"%d":0,`, i)
	}
	if again >= 0 {
		b = fmt.Appendf(b, `"%d":0,`, again)
	}
	return string(b[:len(b)-1]) + "}"
}

func TestPartsOfABodyAreTheBytesThatCame(t *testing.T) {
	for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
		args := bridge.Transcode(inJSON(`[18446744073709551615,"\u0000AQI="]`), e)
		env := bridge.AppendResult(nil, e, wampcore.Payload{Encoding: e, Args: args})
		for _, c := range []struct {
			body []byte
			as   bridge.As
			want []byte
		}{{env, bridge.AsEnvelope, args}, {args, bridge.AsArgs, args}} {
			req, err := bridge.ParseCall(wampcore.Raw{Encoding: e, Bytes: c.body}, c.as)
			if err != nil || !slices.Equal(req.Payload.Args, c.want) || req.Payload.Encoding != e {
				t.Errorf("%s: got %q, %v, want %q", e, req.Payload.Args, err, c.want)
			}
		}
		req, err := bridge.ParseCall(wampcore.Raw{Encoding: e, Bytes: args}, bridge.AsValue)
		if first := req.Payload.First(); err != nil || !slices.Equal(first.Bytes, args) {
			t.Errorf("%s: got %q, %v, want %q", e, first.Bytes, err, args)
		}
	}
}

// FuzzParse: whatever a body is, it is refused or taken apart into well-formed parts.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"args":[1],"kwargs":{"a":1},"options":{"disclose_me":true}}`, `[1]`, `{"args":null}`, `[{"procedure":"a","args":[1]}]`, `[{"topic":"a","options":{"acknowledge":false}}]`, `{"options":{"timeout":5,"_x_y":[1]}}`} {
		for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
			f.Add(bridge.Transcode(inJSON(s), e), "", uint8(e))
			f.Add(bridge.Transcode(inJSON(s), e), "args", uint8(e))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, as string, e uint8) {
		body := wampcore.Raw{Encoding: wampcore.Encoding(e%3 + 1), Bytes: b}
		call, err := bridge.ParseCall(body, bridge.As(as))
		publish, err2 := bridge.ParsePublish(body, bridge.As(as))
		if err == nil {
			checkPayload(t, call.Payload)
		}
		if err2 == nil {
			checkPayload(t, publish.Payload)
		}
		if calls, err := bridge.ParseCalls(body, 10); err == nil {
			for _, c := range calls {
				checkPayload(t, c.Payload)
			}
		}
		if all, err := bridge.ParsePublications(body, 10); err == nil {
			for _, p := range all {
				checkPayload(t, p.Payload)
			}
		}
		if part, _, err := bridge.ParsePart(body, bridge.As(as), true); err == nil {
			checkPayload(t, part.Payload)
		}
	})
}

func checkPayload(t *testing.T, p wampcore.Payload) {
	t.Helper()
	for _, b := range [][]byte{p.Args, p.Kwargs} {
		if len(b) > 0 && wampcore.Scan(p.Encoding, b) != nil {
			t.Errorf("%q is not well-formed", b)
		}
	}
	if b := bridge.AppendResult(nil, p.Encoding, p); p.Encoding != 0 && wampcore.Scan(p.Encoding, b) != nil {
		t.Errorf("%q is not well-formed", b)
	}
}
