package router_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// conversation is a script: each line is a peer's name, then "<" and what it sends, or ">" and what comes to it, or
// "closed". "$x" stands for anything, which is the same wherever the name is the same; "*" for anything at all.
type conversation struct {
	name   string
	raw    bool // has frames that are no messages
	strict bool
	script string
}

const hello = `[1,"realm1",{"roles":{"publisher":{},"subscriber":{},"caller":{},"callee":{}}}]`

func conversations() []conversation {
	return []conversation{
		{name: "1.7 HELLO is answered with WELCOME", script: `
			x < [1,"realm1",{"roles":{"caller":{}},"unknown":[1],"agent":"a"}]
			x > [2,"$s",{"agent":"wampgate","authid":"*","authmethod":"anonymous","authprovider":"static","authrole":"anonymous","realm":"realm1","roles":"*"}]`},
		{name: "1.7 GOODBYE is answered, and a new HELLO taken", script: `
			a < [6,{},"wamp.close.close_realm"]
			a > [6,{},"wamp.close.goodbye_and_out"]
			a < ` + hello + `
			a > [2,"$s",{"agent":"wampgate","authid":"*","authmethod":"anonymous","authprovider":"static","authrole":"anonymous","realm":"realm1","roles":"*"}]`},
		{name: "1.7 HELLO without roles", script: `
			x < [1,"realm1",{}]
			x > [3,"*","wamp.error.protocol_violation"]
			x closed`},
		{name: "1.7 HELLO to an unknown realm", script: `
			x < [1,"nowhere",{"roles":{"caller":{}}}]
			x > [3,"*","wamp.error.no_such_realm"]
			x closed`},
		{name: "1.8 a second HELLO", script: `
			a < ` + hello + `
			a > [3,"*","wamp.error.protocol_violation"]
			a closed`},
		{name: "1.9 subscribe, publish, event, unsubscribe", script: `
			a < [32,1,{},"com.example.t"]
			a > [33,1,"$sub"]
			b < [16,1,{"acknowledge":true},"com.example.t",[1,"x",null,-5,1.5,true,{"k":["v"]}],{"k":{"n":9007199254740993}}]
			b > [17,1,"$pub"]
			a > [36,"$sub","$pub",{},[1,"x",null,-5,1.5,true,{"k":["v"]}],{"k":{"n":9007199254740993}}]
			b < [16,2,{},"com.example.t"]
			a > [36,"$sub","*",{}]
			b < [16,3,{},"com.example.t",[],{"only":"kwargs"}]
			a > [36,"$sub","*",{},[],{"only":"kwargs"}]
			a < [34,2,"$sub"]
			a > [35,2]
			b < [16,4,{},"com.example.t",["unheard"]]
			a < [34,3,"$sub"]
			a > [8,34,3,{},"wamp.error.no_such_subscription"]`},
		{name: "1.9 binary passes through every encoding", script: `
			a < [32,1,{},"t"]
			a > [33,1,"$sub"]
			b < [16,1,{},"t",["\u0000AAEC/w==",["\u0000"]],{"k":"\u0000/w=="}]
			a > [36,"$sub","*",{},["\u0000AAEC/w==",["\u0000"]],{"k":"\u0000/w=="}]`},
		{name: "1.9 a failed publication is answered only where that was asked for", script: `
			a < [16,1,{},"not a uri"]
			a < [16,2,{"acknowledge":true},"not a uri"]
			a > [8,16,2,{},"wamp.error.invalid_uri","*"]
			a < [16,3,{"acknowledge":true},"wamp.session.on_join"]
			a > [8,16,3,{},"wamp.error.invalid_uri","*"]`},
		{name: "1.10 register, call, yield, unregister", script: `
			a < [64,1,{},"com.example.add"]
			a > [65,1,"$reg"]
			b < [48,1,{},"com.example.add",[2,3],{"k":"v"}]
			a > [68,"$inv","$reg",{},[2,3],{"k":"v"}]
			a < [70,"$inv",{},[5]]
			b > [50,1,{},[5]]
			a < [66,2,"$reg"]
			a > [67,2]
			b < [48,2,{},"com.example.add"]
			b > [8,48,2,{},"wamp.error.no_such_procedure","*"]
			a < [66,3,"$reg"]
			a > [8,66,3,{},"wamp.error.no_such_registration"]`},
		{name: "1.10 an ERROR of the callee", script: `
			a < [64,1,{},"p"]
			a > [65,1,"$reg"]
			b < [48,1,{},"p"]
			a > [68,"$inv","$reg",{}]
			a < [8,68,"$inv",{},"com.example.bad",["why"],{"k":1}]
			b > [8,48,1,{},"com.example.bad",["why"],{"k":1}]`},
		{name: "1.10 a procedure is registered once", script: `
			a < [64,1,{},"p"]
			a > [65,1,"$reg"]
			b < [64,1,{},"p"]
			b > [8,64,1,{},"wamp.error.procedure_already_exists"]`},
		{name: "1.10 results come in any order", script: `
			a < [64,1,{},"p"]
			a > [65,1,"$reg"]
			b < [48,1,{},"p",[1]]
			b < [48,2,{},"p",[2]]
			a > [68,"$one","$reg",{},[1]]
			a > [68,"$two","$reg",{},[2]]
			a < [70,"$two",{},[22]]
			a < [70,"$one",{},[11]]
			b > [50,2,{},[22]]
			b > [50,1,{},[11]]`},
		{name: "1.3 URIs that are none", script: `
			a < [32,1,{},"a..b"]
			a > [8,32,1,{},"wamp.error.invalid_uri","*"]
			a < [32,2,{},"com.\u2003a"]
			a > [8,32,2,{},"wamp.error.invalid_uri","*"]
			a < [32,3,{},""]
			a > [8,32,3,{},"wamp.error.invalid_uri","*"]
			a < [48,4,{},"a#b"]
			a > [8,48,4,{},"wamp.error.invalid_uri","*"]
			a < [64,5,{},"wamp.mine"]
			a > [8,64,5,{},"wamp.error.invalid_uri","*"]
			a < [32,6,{},"wamp.session.on_join"]
			a > [33,6,"*"]`},
		{name: "1.2 ids in sequence where the realm is strict", strict: true, script: `
			x < [1,"strict",{"roles":{"subscriber":{}}}]
			x > [2,"*","*"]
			x < [32,1,{},"t"]
			x > [33,1,"*"]
			x < [32,3,{},"t"]
			x > [3,"*","wamp.error.protocol_violation"]
			x closed`},
		{name: "2.3 a timeout is the dealer's", script: `
			a < [64,1,{},"p"]
			a > [65,1,"$reg"]
			b < [48,1,{"timeout":1},"p"]
			a > [68,"$inv","$reg",{}]
			b > [8,48,1,{},"wamp.error.timeout","*"]
			a < [70,"$inv",{}]`},
		{name: "2.4 a callee that cannot be interrupted is skipped", script: `
			a < [64,1,{},"p"]
			a > [65,1,"$reg"]
			b < [48,1,{},"p"]
			a > [68,"$inv","$reg",{}]
			b < [49,1,{"mode":"kill"}]
			b > [8,48,1,{},"wamp.error.canceled"]
			a < [70,"$inv",{}]
			b < [49,1,{}]`},
		{name: "2.6 a caller may disclose itself", script: `
			a < [64,1,{},"p"]
			a > [65,1,"$reg"]
			b < [48,1,{"disclose_me":true},"p"]
			a > [68,"$inv","$reg",{"caller":"$b","caller_authid":"*","caller_authrole":"anonymous"}]`},
		{name: "2.17 a publisher may disclose itself", script: `
			a < [32,1,{},"t"]
			a > [33,1,"$sub"]
			b < [16,1,{"disclose_me":true},"t"]
			a > [36,"$sub","*",{"publisher":"$b","publisher_authid":"*","publisher_authrole":"anonymous"}]`},
		{name: "2.8 pattern registrations say the procedure", script: `
			a < [64,1,{"match":"prefix"},"com.example"]
			a > [65,1,"$reg"]
			b < [48,1,{},"com.example.x"]
			a > [68,"$inv","$reg",{"procedure":"com.example.x"}]
			a < [64,2,{"match":"wildcard"},"com..x"]
			a > [65,2,"*"]`},
		{name: "2.19 pattern subscriptions say the topic", script: `
			a < [32,1,{"match":"wildcard"},"com..x"]
			a > [33,1,"$sub"]
			b < [16,1,{},"com.example.x"]
			a > [36,"$sub","*",{"topic":"com.example.x"}]`},
		{name: "1.1 unknown options are ignored, their own kind carried", script: `
			a < [32,1,{"unknown":1,"x_cb":[1]},"t"]
			a > [33,1,"$sub"]
			b < [16,1,{"other":{"a":[1]},"_trace":"00-ab"},"t"]
			a > [36,"$sub","*",{"_trace":"00-ab"}]`},
	}
}

// violations are frames that end the session, whatever it did before.
func violations() []string {
	return []string{
		`[]`, `{}`, `1`, `"x"`, `null`, `["1"]`, `[999]`, `[0]`, `[-1]`, `[1.5]`, `[256,1]`,
		`[32]`, `[32,1]`, `[32,1,{}]`, `[32,1,{},5]`, `[32,1,[],"t"]`, `[32,"1",{},"t"]`, `[32,1,{},"t",[]]`,
		`[32,0,{},"t"]`, `[32,-1,{},"t"]`, `[32,9007199254740993,{},"t"]`, `[32,1.5,{},"t"]`,
		`[32,1,{"match":"bogus"},"t"]`, `[32,1,{"match":1},"t"]`, `[32,1,{"get_retained":1},"t"]`,
		`[64,1,{"invoke":"bogus"},"p"]`, `[64,1,{"match":"x"},"p"]`,
		`[16,1,{"acknowledge":1},"t"]`, `[16,1,{"acknowledge":"true"},"t"]`, `[16,1,{},"t",{}]`, `[16,1,{},"t",[],[]]`,
		`[16,1,{"eligible":5},"t"]`, `[16,1,{"exclude":["x"]},"t"]`, `[16,1,{},"t",[],{},1]`,
		`[48,1,{"timeout":-1},"p"]`, `[48,1,{"timeout":1.5},"p"]`, `[48,1,{"timeout":"1"},"p"]`, `[48,1,{"progress":true},"p"]`,
		`[48,1,{"receive_progress":1},"p"]`, `[49,1,{"mode":"bogus"}]`, `[49,1]`,
		`[34,1]`, `[34,1,0]`, `[66,1,"x"]`, `[70,1,{}]`, `[70,0,{}]`, `[8,48,1,{},"e"]`, `[8,99,1,{},"e"]`, `[8,68,1,{}]`,
		`[6,{}]`, `[6,"x","y"]`, `[2,1,{}]`, `[4,"x",{}]`, `[5,"x",{}]`, `[17,1,1]`, `[33,1,1]`, `[36,1,1,{}]`, `[50,1,{}]`,
		`[65,1,1]`, `[68,1,1,{}]`, `[69,1,{}]`,
		hello,
	}
}

func TestConformance(t *testing.T) {
	for _, d := range dialers() {
		t.Run(d.name, func(t *testing.T) {
			for _, c := range append(conversations(), advanced()...) {
				if c.raw && !d.raw {
					continue
				}
				t.Run(c.name, func(t *testing.T) { c.run(t, newRouter(t), d) })
			}
		})
	}
}

func TestEveryViolationIsAborted(t *testing.T) {
	for _, d := range dialers() {
		if !d.raw {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			r := newRouter(t)
			for _, frame := range violations() {
				t.Run(frame, func(t *testing.T) {
					c := conversation{script: "a < " + frame + "\na > [3,\"*\",\"wamp.error.protocol_violation\"]\na closed"}
					c.run(t, r, d)
				})
			}
		})
	}
}

func TestWelcomeAnnouncesWhatTheTableSays(t *testing.T) {
	table, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	var want wampcore.Roles
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(line, "|")
		for r := wampcore.RoleBroker; r <= wampcore.RoleDealer && len(cells) > 3; r++ {
			for f := wampcore.ProgressiveCallResults; f <= wampcore.PayloadPassthruMode; f++ {
				if strings.TrimSpace(cells[1]) == r.String() && strings.TrimSpace(cells[2]) == f.String() {
					want.Add(r, f)
				}
			}
		}
	}
	want.AddReflection(wampcore.RoleBroker)
	want.AddReflection(wampcore.RoleDealer)
	p := wamptest.New(t, newRouter(t).Dial())
	if got := p.Join(realm1, allFeatures()).Details.Roles; got != want {
		t.Errorf("WELCOME announces %+v, the table %+v", got, want)
	}
}

// run acts the script. Peers whose names begin with x do their own handshake; others have joined realm1 already.
func (c conversation) run(t *testing.T, r *router.Router, d dialer) {
	t.Helper()
	peers := map[string]wire{}
	vars := map[string]any{}
	for line := range strings.Lines(joined(c.script)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		w := peers[name]
		if w == nil {
			w = d.dial(t, r)
			peers[name] = w
			if name[0] != 'x' {
				greeting := hello
				if name < "a" {
					greeting = everything
				}
				w.send(t, greeting)
				c.expect(t, w, `[2,"$`+name+`","*"]`, vars)
			}
		}
		op, frame, _ := strings.Cut(rest, " ")
		switch op {
		case "<":
			w.send(t, substitute(frame, vars))
		case ">":
			c.expect(t, w, frame, vars)
		case "closed":
			if frame, open := w.receive(t); open {
				t.Fatalf("%s: got %s, want the end", name, frame)
			}
		}
	}
}

// joined puts frames that go over several lines into one.
func joined(script string) string {
	return regexp.MustCompile(`,\n\s*`).ReplaceAllString(strings.TrimSpace(script), ",")
}

func (c conversation) expect(t *testing.T, w wire, pattern string, vars map[string]any) {
	t.Helper()
	frame, open := w.receive(t)
	if !open {
		t.Fatalf("got the end, want %s", pattern)
	}
	if !matches(parse(t, pattern), parse(t, string(frame)), vars) {
		t.Fatalf("got %s, want %s (%v)", frame, pattern, vars)
	}
}

func parse(t *testing.T, s string) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

// matches reports whether got is what want says, and binds want's variables.
func matches(want, got any, vars map[string]any) bool {
	switch w := want.(type) {
	case string:
		if w == "*" {
			return true
		}
		if name, ok := strings.CutPrefix(w, "$"); ok {
			if bound, ok := vars[name]; ok {
				return reflect.DeepEqual(bound, got)
			}
			vars[name] = got
			return true
		}
	case []any:
		g, ok := got.([]any)
		abort := len(w) > 0 && w[0] == json.Number("3") // may say more
		if !ok || len(g) < len(w) || len(g) > len(w) && !abort {
			return false
		}
		for i := range w {
			if !matches(w[i], g[i], vars) {
				return false
			}
		}
		return true
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range w {
			if !matches(w[k], g[k], vars) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, got)
}

func substitute(frame string, vars map[string]any) string {
	for name, v := range vars {
		frame = strings.ReplaceAll(frame, `"$`+name+`"`, fmt.Sprint(v))
	}
	return frame
}
