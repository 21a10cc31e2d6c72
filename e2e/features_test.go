package e2e

import (
	"strings"
	"testing"
)

func TestRealClientsUseEveryFeatureTheyHave(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"autobahn-js": "features_autobahn.js",
		"wampy":       "features_wampy.js",
		"autobahn-py": "features.py",
	} {
		for _, encoding := range []string{"json", "msgpack", "cbor"} {
			t.Run(name+" "+encoding, func(t *testing.T) {
				t.Parallel()
				env := []string{"WAMPGATE_OPERATORS=anonymous"}
				if name == "autobahn-py" { // which cannot ask to be disclosed
					env = append(env, "WAMPGATE_DISCLOSURE=always")
				}
				_, base := gateway(t, env...)
				p := features(t, file, webSocket(base), "realm1", encoding)
				var passed, failed int
				for line := range p.until("end") {
					if check, ok := strings.CutPrefix(line, "ok "); ok {
						passed++
						t.Run(check, func(*testing.T) {})
					} else if report, ok := strings.CutPrefix(line, "FAIL "); ok {
						failed++
						check, why, _ := strings.Cut(report, ": ")
						t.Run(check, func(t *testing.T) { t.Error(why) })
					}
				}
				if status := p.exit(); passed == 0 || failed == 0 && status != 0 {
					t.Errorf("%d checks passed, exit status %d", passed, status)
				}
			})
		}
	}
}

func features(tb testing.TB, file string, args ...string) *process {
	tb.Helper()
	if strings.HasSuffix(file, ".py") {
		return script(tb, file, args...)
	}
	return node(tb, file, args...)
}
