package httpapi //nolint:testpackage // what is tested is not seen from outside but through a whole request

import (
	"net/http"
	"testing"
)

func TestAnswerIsInTheFormatThatTheClientLikesBest(t *testing.T) {
	for _, c := range []struct {
		accept string
		body   format
		offers []format
		want   format
		name   string
	}{
		{"", noFormat, encodings, formatJSON, "application/json"},
		{"*/*", formatCBOR, encodings, formatCBOR, "application/cbor"},
		{"", formatMsgpack, encodings, formatMsgpack, "application/msgpack"},
		{"*/*", jsonLines, encodings, formatJSON, "application/json"},
		{"application/json", formatCBOR, encodings, formatJSON, "application/json"},
		{"application/cbor, application/json", formatJSON, encodings, formatJSON, "application/json"},
		{"application/cbor, application/json;q=0.9", formatJSON, encodings, formatCBOR, "application/cbor"},
		{"application/cbor;q=0.5, */*;q=0.1", formatJSON, encodings, formatCBOR, "application/cbor"},
		{"application/json;q=0, */*", formatJSON, encodings, formatCBOR, "application/cbor"},
		{"application/*", noFormat, encodings, formatJSON, "application/json"},
		{"application/vnd.msgpack", formatJSON, encodings, formatMsgpack, "application/vnd.msgpack"},
		{"application/x-msgpack, application/msgpack", formatJSON, encodings, formatMsgpack, "application/msgpack"},
		{"APPLICATION/CBOR", formatJSON, encodings, formatCBOR, "application/cbor"},
		{`text/html;a="b,application/json", application/cbor`, formatJSON, encodings, formatCBOR, "application/cbor"},
		{"text/html", formatJSON, encodings, noFormat, ""},
		{"application/json;q=0", formatJSON, encodings, noFormat, ""},
		{"application/json;q=x", formatJSON, encodings, noFormat, ""},
		{"text/event-stream", formatJSON, encodings, noFormat, ""},
		{"text/event-stream", formatJSON, encodingsStreams, eventStream, "text/event-stream"},
		{"application/json, text/event-stream", formatJSON, encodingsStreams, formatJSON, "application/json"},
		{"application/jsonl, */*;q=0.1", formatJSON, encodingsStreams, jsonLines, "application/jsonl"},
		{"application/x-ndjson", formatJSON, encodingsStreams, jsonLines, "application/x-ndjson"},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		got, ok := negotiate(r, c.body, c.offers)
		if got.format != c.want || ok != (c.want != noFormat) || ok && got.header[0] != c.name {
			t.Errorf("%q with a body of %d: got %v, %t, want %d %s", c.accept, c.body, got, ok, c.want, c.name)
		}
	}
}

// FuzzNegotiate: whatever the headers are, the answer is in a format that is offered, or in none.
func FuzzNegotiate(f *testing.F) {
	f.Add("application/cbor;q=0.5, */*;q=0.1", "application/json; charset=utf-8")
	f.Add(`a/b;c="d\",`, "application/cbor")
	f.Fuzz(func(t *testing.T, accept, kind string) {
		r := &http.Request{Header: http.Header{"Accept": {accept}, "Content-Type": {kind}}}
		got, ok := negotiate(r, bodyFormat(r), encodings)
		if ok && (got.format < formatJSON || got.format > formatCBOR || len(got.header) != 1) {
			t.Errorf("%q: got %v", accept, got)
		}
		if accepts(r, "application/json") && !ok {
			t.Errorf("%q takes JSON and nothing", accept)
		}
		_ = acceptsGzip(r)
	})
}
