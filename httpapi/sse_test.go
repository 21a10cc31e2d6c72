package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
)

func TestFormatOfAStreamIsTheFirstThatAcceptNames(t *testing.T) {
	for accept, want := range map[string]format{
		"": noStream, "*/*": noStream, "application/json": noStream, "text/event-stream": eventStream,
		"application/jsonl": jsonLines, "application/x-ndjson;q=0.5": jsonLines,
		"application/jsonl;q=0, text/event-stream": eventStream, "text/html, application/jsonl, text/event-stream": jsonLines,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		if got := streamFormat(r); got != want {
			t.Errorf("%q: got %d, want %d", accept, got, want)
		}
	}
}

func TestFramesAreServerSentEventsOrLinesOfJSON(t *testing.T) {
	for _, c := range []struct{ id, name, data, sse, line string }{
		{"", "", `{"a":1}`, "data: {\"a\":1}\n\n", "{\"event\":{\"a\":1}}\n"},
		{"1.a", "progress", "[1,\r\n2]", "id: 1.a\nevent: progress\ndata: [1,  2]\n\n", "{\"id\":\"1.a\",\"progress\":[1,  2]}\n"},
		{"", "wamp.gap", `{}`, "event: wamp.gap\ndata: {}\n\n", "{\"gap\":{}}\n"},
	} {
		if got := string(eventStream.appendFrame(nil, c.id, c.name, []byte(c.data))); got != c.sse {
			t.Errorf("got %q, want %q", got, c.sse)
		}
		if got := string(jsonLines.appendFrame(nil, c.id, c.name, []byte(c.data))); got != c.line {
			t.Errorf("got %q, want %q", got, c.line)
		}
	}
}

func TestStreamWriterWritesEachEventAtOnce(t *testing.T) {
	a := &api{cfg: Config{}.withDefaults()}
	rec := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	s := a.stream(rec, eventStream)
	s.event("fin.1", "result", []byte(`{}`))
	s.beat()
	s.fail(r, &wampcore.Error{URI: wampcore.ErrTimeout, Message: "late"})
	body := rec.Body.String()
	if !strings.HasPrefix(body, "id: fin.1\nevent: result\ndata: {}\n\n: \n\nevent: error\ndata: {") || s.err != nil || !rec.Flushed {
		t.Errorf("got %q, %v", body, s.err)
	}
	if got := rec.Header().Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got %s", got)
	}
	rec = httptest.NewRecorder()
	a.stream(rec, jsonLines).fail(r, &wampcore.Error{URI: wampcore.ErrTimeout})
	var line struct{ Error problem }
	if err := json.Unmarshal(rec.Body.Bytes(), &line); err != nil || line.Error.Status != http.StatusGatewayTimeout {
		t.Errorf("got %s, %v", rec.Body, err)
	}
}
