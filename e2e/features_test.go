package e2e

import (
	"strings"
	"testing"
)

func TestRealClientsUseEveryFeatureTheyHave(t *testing.T) {
	for name, client := range map[string]func(testing.TB, ...string) *process{
		"autobahn-js": func(tb testing.TB, args ...string) *process { return node(tb, "features_autobahn.js", args...) },
		"wampy":       func(tb testing.TB, args ...string) *process { return node(tb, "features_wampy.js", args...) },
		"autobahn-py": func(tb testing.TB, args ...string) *process { return script(tb, "features.py", args...) },
	} {
		for _, encoding := range []string{"json", "msgpack", "cbor"} {
			t.Run(name+" "+encoding, func(t *testing.T) {
				t.Parallel()
				_, base := gateway(t, "WAMPGATE_OPERATORS=anonymous")
				p := client(t, webSocket(base), encoding)
				passed := 0
				for line := range p.until("end") {
					switch {
					case strings.HasPrefix(line, "ok "):
						passed++
					case strings.HasPrefix(line, "FAIL "):
						t.Error(line)
					}
				}
				if passed < 8 {
					t.Errorf("only %d checks passed", passed)
				}
			})
		}
	}
}
