package wampcore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// vectors has each message in the forms that have a meaning of their own.
var vectors = []string{ //nolint:gochecknoglobals // a constant table
	`[1,"realm1",{"roles":{"caller":{"features":{"call_canceling":true}},"callee":{}},"agent":"a","authmethods":["anonymous"],"authid":"me","authextra":{"k":[1]}}]`,
	`[2,9007199254740992,{"roles":{"broker":{"features":{"event_retention":true}},"dealer":{}},"agent":"wampgate","realm":"realm1","authid":"a","authrole":"b","authmethod":"c","authprovider":"d"}]`,
	`[3,{"message":"no"},"wamp.error.no_such_realm"]`,
	`[3,{},"wamp.error.no_such_realm",[1],{"k":2}]`,
	`[4,"ticket",{"challenge":"x"}]`,
	`[5,"secret",{}]`,
	`[6,{"message":"bye","_own":[1,{"k":null}]},"wamp.close.close_realm"]`,
	`[8,48,1,{},"com.example.error",["why"],{"k":"v"}]`,
	`[8,32,1,{"ppt_scheme":"x_a"},"wamp.error.invalid_uri"]`,
	`[16,1,{"acknowledge":true,"exclude_me":false,"disclose_me":true,"retain":true,"exclude":[1,2],"exclude_authid":["a"],"exclude_authrole":[],"eligible":[],"eligible_authid":["b"],"eligible_authrole":["c"],"rkey":"k","ppt_scheme":"wamp","ppt_serializer":"cbor","ppt_cipher":"x","ppt_keyid":"y"},"com.example.t",[1]]`,
	`[17,1,2]`,
	`[32,1,{"match":"prefix","get_retained":true,"nkey":"k"},"com"]`,
	`[33,1,2]`,
	`[34,1,2]`,
	`[35,1]`,
	`[35,0,{"subscription":7,"reason":"com.example.why"}]`,
	`[36,1,2,{"topic":"t","publisher":3,"publisher_authid":"a","publisher_authrole":"r","trustlevel":0,"retained":true},[],{"k":1}]`,
	`[48,1,{"receive_progress":true,"progress":true,"disclose_me":true,"timeout":1500,"rkey":"k","runmode":"partition","_trace":"00-1"},"com.example.p",["\u0000AAEC/w==",1.5,-5,18446744073709551615,-9223372036854775808,"ä€𝄞",true,null]]`,
	`[49,1,{"mode":"kill"}]`,
	`[49,1,{}]`,
	`[50,1,{"progress":true},[[[[]]]]]`,
	`[64,1,{"match":"wildcard","invoke":"_leastpending","disclose_caller":true,"forward_timeout":true},"a..b"]`,
	`[65,1,2]`,
	`[66,1,2]`,
	`[67,1]`,
	`[67,0,{"registration":7}]`,
	`[68,1,2,{"receive_progress":true,"progress":true,"timeout":3,"caller":4,"caller_authid":"a","caller_authrole":"r","procedure":"p","trustlevel":9},[1],{"k":{"n":1}}]`,
	`[69,1,{"mode":"killnowait"}]`,
	`[70,1,{"progress":true},[1]]`,
	`[70,1,{}]`,
}

func transcoded(frame []byte, from, to Encoding) []byte {
	return Payload{Encoding: from, Args: frame}.Transcode(to).Args
}

func TestMessagesAreTheSameAfterEncodingAndDecoding(t *testing.T) {
	for _, v := range vectors {
		for e := JSON; e <= CBOR; e++ {
			frame := transcoded([]byte(v), JSON, e)
			m, err := new(Decoder).Decode(e, frame)
			if err != nil {
				t.Errorf("%s as %s: %v", v, e, err)
				continue
			}
			for out := JSON; out <= CBOR; out++ {
				again := transcoded(Append(nil, out, m), out, JSON)
				if !equalJSON(t, v, string(again)) {
					t.Errorf("%s\nfrom %s to %s is\n%s", v, e, out, again)
				}
			}
		}
	}
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var values [2]any
	for i, s := range []string{a, b} {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		if err := d.Decode(&values[i]); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return cmp.Equal(values[0], values[1])
}

func TestPayloadsPassUntouchedInTheirEncoding(t *testing.T) {
	frame := `[48,1,{},"p", [ 1.0 , "<&>\u00e4", 1e2 ], { "b" : 1 , "a":2}]`
	m, err := new(Decoder).Decode(JSON, []byte(frame))
	if err != nil {
		t.Fatal(err)
	}
	want := `[48,1,{},"p",[ 1.0 , "<&>\u00e4", 1e2 ],{ "b" : 1 , "a":2}]`
	if got := Append(nil, JSON, m); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTranscodingKeepsKinds(t *testing.T) {
	for in, want := range map[string]string{
		`[1.0,-0.5,1e300,12345678901234567890123]`:              `[1.0,-0.5,1e+300,1.2345678901234568e+22]`,
		`["\u0000","\u0000AA==","\u0000not base64!","\ud800x"]`: `["\u0000","\u0000AA==","\u0000not base64!",` + "\"\ufffdx\"]",
		`[9007199254740993,-9223372036854775808]`:               `[9007199254740993,-9223372036854775808]`,
		`["<>&` + "\u2028" + `"]`:                               `["<>&` + "\u2028" + `"]`,
		`[{"\u0000AA==":1}]`:                                    `[{"\u0000AA==":1}]`,
	} {
		for _, via := range []Encoding{MessagePack, CBOR} {
			got := transcoded(transcoded([]byte(in), JSON, via), via, JSON)
			if string(got) != want {
				t.Errorf("%s through %s is %s, want %s", in, via, got, want)
			}
		}
	}
	for name, c := range map[string]struct {
		from Encoding
		in   string
		want string
	}{
		"undefined of wampy in MessagePack": {MessagePack, "\x91\xd4\x00\x00", `[null]`},
		"undefined in CBOR":                 {CBOR, "\x81\xf7", `[null]`},
		"not a number":                      {MessagePack, "\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", `[null]`},
		"integers as keys":                  {MessagePack, "\x91\x81\x01\xa1a", `[{"1":"a"}]`},
		"another extension":                 {MessagePack, "\x91\xd4\x05\xff", `["\u0000/w=="]`},
		"chunks":                            {CBOR, "\x9f\x7f\x61a\x61b\xff\xbf\x61k\x01\xff\xff", `["ab",{"k":1}]`},
		"tags":                              {CBOR, "\x81\xc1\x1a\x00\x00\x00\x01", `[1]`},
		"the least CBOR integer":            {CBOR, "\x81\x3b\xff\xff\xff\xff\xff\xff\xff\xff", `[-18446744073709551616]`},
		"a big integer":                     {CBOR, "\x81\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", `[18446744073709551616]`},
		"half a float":                      {CBOR, "\x81\xf9\x3c\x00", `[1.0]`},
		"no UTF-8":                          {MessagePack, "\x91\xa1\xff", "[\"\ufffd\"]"},
	} {
		if err := Scan(c.from, []byte(c.in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := transcoded([]byte(c.in), c.from, JSON); string(got) != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestWhatIsNotWellFormedIsRefused(t *testing.T) {
	for _, c := range []struct {
		e  Encoding
		in string
	}{
		{JSON, ``},
		{JSON, `[`},
		{JSON, `[1,]`},
		{JSON, `[1 2]`},
		{JSON, `{"a"}`},
		{JSON, `{"a":1,}`},
		{JSON, `{1:1}`},
		{JSON, `[01]`},
		{JSON, `[1.]`},
		{JSON, `[.5]`},
		{JSON, `[1e]`},
		{JSON, `[+1]`},
		{JSON, `[NaN]`},
		{JSON, `["` + "\x01" + `"]`},
		{JSON, `["\x"]`},
		{JSON, `["\u12"]`},
		{JSON, "[\"\xff\"]"},
		{JSON, `[1]x`},
		{JSON, `[}`},
		{JSON, `tru`},
		{JSON, `["a`},
		{JSON, `{"a":`},
		{JSON, `{`},
		{JSON, strings.Repeat("[", 10_000)},
		{JSON, strings.Repeat("[", 129) + strings.Repeat("]", 129)},
		{MessagePack, ""},
		{MessagePack, "\xc1"},
		{MessagePack, "\x91"},
		{MessagePack, "\xdd\xff\xff\xff\xff"},
		{MessagePack, "\xdf\xff\xff\xff\xff\x01"},
		{MessagePack, "\xa5abc"},
		{MessagePack, "\xc6\xff\xff\xff\xff"},
		{MessagePack, "\xd9"},
		{MessagePack, "\xc7\x01"},
		{MessagePack, "\x01\x01"},
		{MessagePack, strings.Repeat("\x91", 1000) + "\x01"},
		{CBOR, ""},
		{CBOR, "\x81"},
		{CBOR, "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"},
		{CBOR, "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"},
		{CBOR, "\x5b\xff\xff\xff\xff\xff\xff\xff\xff"},
		{CBOR, "\x1c"},
		{CBOR, "\xff"},
		{CBOR, "\x9f\x01"},
		{CBOR, "\xbf\x01\xff"},
		{CBOR, "\x7f\x01\xff"},
		{CBOR, "\x7f\x7f\xff\xff"},
		{CBOR, "\xf8\x01"},
		{CBOR, "\x9f\xc1\xff"},
		{CBOR, "\x01\x01"},
		{CBOR, strings.Repeat("\xc1", 100) + "\x01"},
		{CBOR, strings.Repeat("\x9f", 1000)},
	} {
		if err := Scan(c.e, []byte(c.in)); err == nil {
			t.Errorf("%s %.40q passes", c.e, c.in)
		}
	}
}

func TestHabitsOfRealClientsAreUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		e     Encoding
		frame string
		want  Message
	}{
		"undefined options in MessagePack": {MessagePack, "\x94\x20\x01\x82\xa5match\xd4\x00\x00\xacget_retained\xd4\x00\x00\xa1t", &Subscribe{Request: 1, Topic: "t"}},
		"undefined options in CBOR":        {CBOR, "\x84\x18\x20\x01\xa1\x65match\xf7\x61t", &Subscribe{Request: 1, Topic: "t"}},
		"ids as floats":                    {MessagePack, "\x93\x22\x01\xcb\x42\x00\x00\x00\x00\x00\x00\x00", &Unsubscribe{Request: 1, Subscription: 1 << 33}},
		"null for Arguments":               {JSON, `[70,1,{},null,{}]`, &Yield{Request: 1}},
		"a fourth element":                 {JSON, `[34,1,2,{}]`, &Unsubscribe{Request: 1, Subscription: 2}},
		"another spelling":                 {JSON, `[49,1,{"mode":null}]`, &Cancel{Request: 1}},
		"signed integers":                  {MessagePack, "\x93\xd0\x22\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xd2\x00\x00\x00\x02", &Unsubscribe{Request: 1, Subscription: 2}},
	} {
		m, err := new(Decoder).Decode(c.e, []byte(c.frame))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, m, cmpopts.IgnoreUnexported(Payload{}, Yield{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTakenPayloadOutlivesTheDecodersNextUse(t *testing.T) {
	var d Decoder
	m, err := d.Decode(JSON, []byte(`[70,1,{},["first"]]`))
	if err != nil {
		t.Fatal(err)
	}
	y, _ := m.(*Yield)
	taken := y.Payload.Take()
	for range 3 {
		if _, err := d.Decode(JSON, []byte(`[70,1,{},["other"]]`)); err != nil {
			t.Fatal(err)
		}
	}
	if string(taken.Args) != `["first"]` || !y.Payload.Empty() && string(y.Payload.Args) != `["other"]` {
		t.Errorf("got %s and %s", taken.Args, y.Payload.Args)
	}
}

func TestValuesGoInAndComeOut(t *testing.T) {
	type thing struct {
		N int64   `codec:"n"`
		B []byte  `codec:"b"`
		F float64 `codec:"f"`
	}
	in := thing{math.MinInt64, []byte{0, 1, 255}, 2}
	for e := JSON; e <= CBOR; e++ {
		p, err := NewPayload(e, []any{in, uint64(math.MaxUint64), "x"}, map[string]any{"k": []byte{7}})
		if err != nil {
			t.Fatal(err)
		}
		var out thing
		var u, s any
		kwargs := map[string]any{}
		if err := errors.Join(p.DecodeArgs(&out, &u, &s), p.DecodeKwargs(&kwargs)); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(in, out) || u != uint64(math.MaxUint64) || s != "x" || !cmp.Equal(kwargs, map[string]any{"k": []byte{7}}) {
			t.Errorf("%s: got %+v %v %v %v", e, out, u, s, kwargs)
		}
		if err := p.DecodeArgs(&s, &s, new(int)); err == nil {
			t.Errorf("%s: a string was decoded into an integer", e)
		}
	}
}

func TestURIs(t *testing.T) {
	for _, c := range []struct {
		uri           URI
		loose, strict bool
		prefix, wild  bool
	}{
		{"com.example.a_1", true, true, true, true},
		{"com.Example-ä", true, false, true, true},
		{"", false, false, true, true},
		{"com.", false, false, true, true},
		{".com", false, false, false, true},
		{"a..b", false, false, false, true},
		{"a b", false, false, false, false},
		{"a#b", false, false, false, false},
		{"a\n", false, false, false, false},
		{"com.\u00a0a", false, false, false, false},
		{"com.\u2003a", false, false, false, false},
		{"a\xff", false, false, false, false},
	} {
		got := []bool{c.uri.Valid(false), c.uri.Valid(true), c.uri.ValidPattern(MatchPrefix, false), c.uri.ValidPattern(MatchWildcard, false)}
		if want := []bool{c.loose, c.strict, c.prefix, c.wild}; !cmp.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", c.uri, got, want)
		}
	}
	for uri, want := range map[URI]bool{"wamp": true, "wamp.x": true, "wampx": false, "com.wamp": false, "": false} {
		if uri.Reserved() != want {
			t.Errorf("%q reserved: %v", uri, !want)
		}
	}
}

func TestNewIDsAreValid(t *testing.T) {
	for range 1000 {
		if id := NewID(); !id.Valid() {
			t.Fatal(id)
		}
	}
	if ID(0).Valid() || (MaxID + 1).Valid() || !MaxID.Valid() || MaxID.Next() != 1 || ID(0).Next() != 1 {
		t.Error("the range is not 1 to 2^53")
	}
}

// FuzzDecode: what is decoded is the same after encoding it in any encoding, and nothing panics.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors {
		for e := JSON; e <= CBOR; e++ {
			f.Add(uint8(e), transcoded([]byte(v), JSON, e))
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		e := Encoding(n%numEncodings) + JSON
		m, err := new(Decoder).Decode(e, b)
		if err != nil {
			return
		}
		again := Append(nil, e, m)
		m2, err := new(Decoder).Decode(e, again)
		if err != nil {
			t.Fatalf("% x became % x: %v", b, again, err)
		}
		if third := Append(nil, e, m2); !bytes.Equal(again, third) {
			t.Errorf("% x became % x", again, third)
		}
		for out := JSON; out <= CBOR; out++ {
			if _, err := new(Decoder).Decode(out, Append(nil, out, m)); err != nil {
				t.Errorf("% x as %s: %v", b, out, err)
			}
		}
	})
}

// FuzzTranscode: what is well-formed stays so in every encoding, and can be decoded.
func FuzzTranscode(f *testing.F) {
	for _, v := range vectors {
		f.Add(uint8(JSON), []byte(v))
		f.Add(uint8(CBOR), transcoded([]byte(v), JSON, CBOR))
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		e := Encoding(n%numEncodings) + JSON
		if Scan(e, b) != nil {
			return
		}
		for out := JSON; out <= CBOR; out++ {
			if got := transcoded(b, e, out); Scan(out, got) != nil {
				t.Errorf("%s % x became, as %s, % x", e, b, out, got)
			}
		}
		var v any
		_ = Raw{Encoding: e, Bytes: b}.Decode(&v) // must not panic
	})
}

func FuzzURI(f *testing.F) {
	f.Add("com.example")
	f.Fuzz(func(t *testing.T, s string) {
		u := URI(s)
		if u.Valid(true) && !u.Valid(false) || u.Valid(false) && !u.ValidPattern(MatchPrefix, false) ||
			u.ValidPattern(MatchPrefix, false) && !u.ValidPattern(MatchWildcard, false) {
			t.Errorf("%q: what is strict is loose, and what is a URI is a pattern", s)
		}
	})
}

func objects() string {
	return `[{"id":12345,"name":"a thing of some size","price":19.5,"tags":["one","two","three"],"ok":true}` +
		strings.Repeat(`,{"id":12345,"name":"a thing of some size","price":19.5,"tags":["one","two","three"],"ok":true}`, 10) + `]`
}

// BenchmarkCallToInvocation is what a router does to a call beside routing it.
func BenchmarkCallToInvocation(b *testing.B) {
	for name, args := range map[string]string{"16 B": `["0123456789ab"]`, "1 KiB": objects()} {
		for e := JSON; e <= CBOR; e++ {
			b.Run(name+" "+e.String(), func(b *testing.B) {
				frame := transcoded([]byte(`[48,7814135,{},"com.example.procedure",`+args+`]`), JSON, e)
				var d Decoder
				var out []byte
				b.ReportAllocs()
				for b.Loop() {
					m, err := d.Decode(e, frame)
					if err != nil {
						b.Fatal(err)
					}
					call, _ := m.(*Call)
					inv := NewInvocation()
					inv.Request, inv.Registration, inv.Payload = 1, 2, call.Payload.Take()
					out = Append(out[:0], e, inv)
					Recycle(inv)
				}
			})
		}
	}
}

func BenchmarkTranscode(b *testing.B) {
	for _, c := range []struct{ from, to Encoding }{{JSON, MessagePack}, {MessagePack, JSON}, {JSON, CBOR}, {CBOR, JSON}} {
		b.Run(c.from.String()+" to "+c.to.String(), func(b *testing.B) {
			in := transcoded([]byte(objects()), JSON, c.from)
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				w := writer{e: c.to, b: out[:0]}
				w.value(c.from, in)
				out = w.b
			}
		})
	}
}

func TestNestingIsBoundedAndWalkedToItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		e                 Encoding
		open, leaf, close string // a level has one value after the next level
	}{
		"json list":      {JSON, "[", "0", ",1]"},
		"json dict":      {JSON, `{"a":`, "0", `,"b":1}`},
		"msgpack list":   {MessagePack, "\x92", "\x00", "\x01"},
		"msgpack dict":   {MessagePack, "\x82\xa1a", "\x00", "\xa1b\x01"},
		"msgpack long":   {MessagePack, "\xdc\x00\x02", "\x00", "\xda\x00\x01x"},
		"cbor list":      {CBOR, "\x82", "\x00", "\x01"},
		"cbor dict":      {CBOR, "\xa2\x61a", "\x00", "\x61b\x01"},
		"cbor open list": {CBOR, "\x9f", "\x00", "\x01\xff"},
		"cbor open dict": {CBOR, "\xbf\x61a", "\x00", "\x61b\x01\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			for depth := 1; depth <= maxDepth+1; depth++ {
				v := strings.Repeat(c.open, depth) + c.leaf + strings.Repeat(c.close, depth)
				if err := Scan(c.e, []byte(v)); (err == nil) != (depth <= maxDepth) {
					t.Fatalf("depth %d: %v", depth, err)
				}
				if err := Scan(c.e, []byte(v[:len(v)-1])); err == nil {
					t.Fatalf("depth %d: a value that is cut short was let pass", depth)
				}
			}
		})
	}
}

func TestLongStringsAreCheckedToTheirEnd(t *testing.T) {
	for n := range 200 {
		text := strings.Repeat("a", n)
		for tail, want := range map[string]bool{
			``: true, `\"`: true, `\\`: true, `\"\"\\\u00e9\n` + text: true, "ä" + text: true, `\"` + text + `\\`: true,
			"\n" + text: false, text + "\x1f": false, `\x`: false, `\u12`: false, "\xff" + text: false, text + "\xc3": false,
		} {
			if err := Scan(JSON, []byte(`["`+text+tail+`"]`)); (err == nil) != want {
				t.Fatalf("%q after %d: got %v, want %t", tail, n, err, want)
			}
			if err := Scan(JSON, []byte(`"`+text+tail)); err == nil {
				t.Fatalf("%q after %d: a string without its end was let pass", tail, n)
			}
		}
	}
}

func BenchmarkScan64KiBString(b *testing.B) {
	frame := []byte(`["` + strings.Repeat("0123456789abcdef", 4096) + `"]`)
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if err := Scan(JSON, frame); err != nil {
			b.Fatal(err)
		}
	}
}

func TestIDsAreTakenOutOfArgumentsHoweverClientsSendThem(t *testing.T) {
	for _, want := range []ID{1, 1 << 33, 1<<52 - 1, 1 << 52, 1<<52 + 1, 1 << 53} {
		for name, p := range map[string]Payload{
			"integer":       {Encoding: JSON, Args: fmt.Appendf(nil, "[%d]", want)},
			"float":         {Encoding: JSON, Args: fmt.Appendf(nil, "[%d.0]", want)},
			"float msgpack": {Encoding: MessagePack, Args: binary.BigEndian.AppendUint64([]byte{0x91, 0xcb}, math.Float64bits(float64(want)))},
			"float cbor":    {Encoding: CBOR, Args: binary.BigEndian.AppendUint64([]byte{0x81, 0xfb}, math.Float64bits(float64(want)))},
		} {
			var got ID
			if err := p.DecodeArgs(&got); err != nil || got != want {
				t.Errorf("%s: got %d, %v, want %d", name, got, err, want)
			}
		}
	}
	for _, bad := range []string{`["1"]`, `[1.5]`, `[-1]`, `[{}]`} {
		var got ID
		if err := (Payload{Encoding: JSON, Args: []byte(bad)}).DecodeArgs(&got); err == nil {
			t.Errorf("%s was taken for %d", bad, got)
		}
	}
	p, err := NewPayload(JSON, []any{ID(7), map[string]ID{"id": 1 << 53}}, nil)
	if err != nil || string(p.Args) != `[7,{"id":9007199254740992}]` {
		t.Errorf("got %s, %v", p.Args, err)
	}
}
