package bridge_test

import (
	"testing"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// FuzzParse: whatever a body is, it is refused or taken apart into well-formed parts.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"args":[1],"kwargs":{"a":1},"options":{"disclose_me":true}}`, `[1]`, `{"args":null}`, `{"options":{"timeout":5,"_x_y":[1]}}`} {
		f.Add(s, "")
		f.Add(s, "args")
	}
	f.Fuzz(func(t *testing.T, body, as string) {
		call, err := bridge.ParseCall([]byte(body), bridge.As(as))
		publish, err2 := bridge.ParsePublish([]byte(body), bridge.As(as))
		if err == nil {
			checkPayload(t, call.Payload)
		}
		if err2 == nil {
			checkPayload(t, publish.Payload)
		}
	})
}

func checkPayload(t *testing.T, p wampcore.Payload) {
	t.Helper()
	for _, b := range [][]byte{p.Args, p.Kwargs} {
		if len(b) > 0 && wampcore.Scan(wampcore.JSON, b) != nil {
			t.Errorf("%q is not well-formed", b)
		}
	}
}
