package wampcore_test

import (
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
)

// inAll returns a JSON value in each encoding.
func inAll(tb testing.TB, json string) []wampcore.Raw {
	tb.Helper()
	if err := wampcore.Scan(wampcore.JSON, []byte(json)); err != nil {
		tb.Fatal(err)
	}
	p := wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(json)}
	var all []wampcore.Raw
	for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
		all = append(all, wampcore.Raw{Encoding: e, Bytes: p.Transcode(e).Args})
	}
	return all
}

func TestDepthIsHowDeepListsAndDictsAreNested(t *testing.T) {
	for json, want := range map[string]int{
		`1`: 0, `"[[["`: 0, `[]`: 1, `{}`: 1, `[1,[2],{"a":[3]},[]]`: 3, `{"a\"[":[[]],"b":"]]"}`: 3,
		strings.Repeat("[", 100) + strings.Repeat("]", 100): 100,
	} {
		for _, r := range inAll(t, json) {
			if got := r.Depth(); got != want {
				t.Errorf("%s in %s: got %d, want %d", json, r.Encoding, got, want)
			}
		}
	}
	for b, want := range map[string]int{"\x9f\x9f\xff\x80\xff": 2, "\xbf\x61a\x9f\xff\xff": 2, "\xc1\x81\x7f\x61a\xff": 1} {
		if got := (wampcore.Raw{Encoding: wampcore.CBOR, Bytes: []byte(b)}).Depth(); got != want {
			t.Errorf("% x: got %d, want %d", b, got, want)
		}
	}
}

func TestCursorGoesThroughListsAndDicts(t *testing.T) {
	for _, r := range inAll(t, ` { "a" : [ 1 , "x" ] , "b":null } `) {
		d, ok := r.Dict()
		if !ok {
			t.Fatalf("%s: no dict", r.Encoding)
		}
		key, _ := d.Next()
		if s, ok := key.Text(); !ok || string(s) != "a" {
			t.Errorf("%s: got the key %q", r.Encoding, s)
		}
		list, _ := d.Next()
		c, ok := list.List()
		first, more := c.Next()
		if _, text := first.Text(); !ok || !more || text {
			t.Errorf("%s: got %v", r.Encoding, first)
		}
		_, _ = d.Next()
		if v, _ := d.Next(); !v.Null() {
			t.Errorf("%s: null is not null", r.Encoding)
		}
		if _, more := d.Next(); more {
			t.Errorf("%s: the dict does not end", r.Encoding)
		}
	}
}

func TestOptionsAreDecodedAsInAMessage(t *testing.T) {
	for _, r := range inAll(t, `{"disclose_me":true,"timeout":5,"_trace":"x"}`) {
		o, err := r.CallOptions()
		if err != nil || !o.DiscloseMe || o.Timeout.Milliseconds() != 5 || len(o.Custom) != 1 {
			t.Errorf("%s: got %+v, %v", r.Encoding, o, err)
		}
	}
	for _, r := range inAll(t, `{"acknowledge":1}`) {
		if _, err := r.PublishOptions(); err == nil {
			t.Errorf("%s: a number is taken for a boolean", r.Encoding)
		}
	}
}

// FuzzDepth: a value that was scanned can be measured and walked through.
func FuzzDepth(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":[]}]}`, "\x81\xa1a\x92\x01\x90", "\xbf\x61a\x9f\x7f\x61a\xff\xff\xff", "\x9f\xc1\x01\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
			if wampcore.Scan(e, b) != nil {
				continue
			}
			r := wampcore.Raw{Encoding: e, Bytes: b}
			if d := r.Depth(); d < 0 || d > 128 {
				t.Errorf("%q is nested %d deep", b, d)
			}
			if c, ok := r.List(); ok {
				for _, more := c.Next(); more; _, more = c.Next() {
				}
			}
			if c, ok := r.Dict(); ok {
				for _, more := c.Next(); more; _, more = c.Next() {
				}
			}
		}
	})
}
