package httpapi_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

// cursorBehind publishes and returns the cursor behind it.
func cursorBehind(t *testing.T, f *face, topic, body string) string {
	t.Helper()
	rec := f.do(t, http.MethodPost, "/v1/publish/"+topic, body)
	var answer struct{ Cursor string }
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || answer.Cursor == "" || rec.Header().Get("Wamp-Cursor") != answer.Cursor {
		t.Fatalf("%d %s %v", rec.Code, rec.Body, rec.Header())
	}
	return answer.Cursor
}

func TestStreamIsResumedInEveryFormatAndByEveryWayToNameACursor(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	cursor := cursorBehind(t, f, "a.b", `{"args":[1]}`)
	cursorBehind(t, f, "a.b", `{"args":[2]}`)
	for _, c := range []struct{ query, header, accept, want string }{
		{"", cursor, "", "\"resume\":\"resumed\"}\n\nid: 1."},
		{"?cursor=" + cursor, "", "text/event-stream", "\ndata: {\"topic\":\"a.b\",\"publication\":"},
		{"?lastEventId=" + cursor + "&event=topic", "", "", "\nevent: a.b\ndata: {\"topic\":\"a.b\",\"publication\":"},
		{"?lastEventID=" + cursor, "", "", "\"resume\":\"resumed\"}\n\nid: 1."},
		{"?cursor=" + cursor, "", "application/x-ndjson", "\"resumed\"}}\n{\"id\":\"1."},
		{"?cursor=nonsense", "", "", "event: wamp.gap\ndata: {\"reason\":"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/subscribe/a.b"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Last-Event-ID", c.header)
		}
		if c.accept != "" {
			req.Header.Set("Accept", c.accept)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if vary := res.Header.Get("Vary"); vary != "Accept" {
			t.Errorf("%+v: Vary is %q", c, vary)
		}
		var seen strings.Builder
		for in := bufio.NewReader(res.Body); !strings.Contains(seen.String(), c.want); {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("%+v: %v behind %q", c, err, seen.String())
			}
			seen.WriteString(line)
		}
		_ = res.Body.Close()
	}
}

func TestPollAnswersWithWhatCameAndWhereToGoOn(t *testing.T) {
	f := newFace(t)
	cursor := cursorBehind(t, f, "a.b", `{"args":[1]}`)
	cursorBehind(t, f, "a.b", `{"args":[2]}`)
	poll := func(query string) (answer struct {
		Events []struct{ Args []int }
		Cursor string
		Gap    *struct{ Reason string }
	},
	) {
		t.Helper()
		rec := f.do(t, http.MethodGet, "/v1/subscribe/a.b?"+query, "", "Accept", "application/json")
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK || rec.Header().Get("Wamp-Cursor") != answer.Cursor ||
			rec.Header().Get("Vary") != "Accept, Accept-Encoding" {
			t.Fatalf("%d %s %v", rec.Code, rec.Body, rec.Header())
		}
		return answer
	}
	got := poll("wait=30&cursor=" + cursor)
	if len(got.Events) != 1 || got.Events[0].Args[0] != 2 || got.Gap != nil {
		t.Errorf("got %+v", got)
	}
	if again := poll("wait=0&cursor=" + got.Cursor); len(again.Events) != 0 || again.Cursor != got.Cursor {
		t.Errorf("got %+v", again)
	}
	cursorBehind(t, f, "c", `{}`)
	next := poll("wait=0&cursor=" + got.Cursor)
	cursorBehind(t, f, "a.b", `{"args":[3]}`)
	if got := poll("wait=30&cursor=" + next.Cursor); len(got.Events) != 1 || got.Events[0].Args[0] != 3 {
		t.Errorf("got %+v", got)
	}
	if got := poll("wait=30&cursor=nonsense"); got.Gap == nil || len(got.Events) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestPollTellsAllThatIsRetainedAndWhereToGoOn(t *testing.T) {
	f := newFace(t)
	const retained = 100
	last := ""
	for i := range retained { // more than is sent at once
		last = cursorBehind(t, f, "a."+strconv.Itoa(i), `{"args":["`+strings.Repeat("x", 900)+`"],"options":{"retain":true}}`)
	}
	for _, query := range []string{"", "&cursor=nonsense"} {
		rec := f.do(t, http.MethodGet, "/v1/subscribe/a.?match=prefix&retained=1&wait=30"+query, "", "Accept", "application/json")
		var answer struct {
			Events []json.RawMessage
			Cursor string
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || len(answer.Events) != retained || answer.Cursor != last {
			t.Errorf("%s: got %d events, cursor %q, want %d and %q (%v)", query, len(answer.Events), answer.Cursor, retained, last, err)
		}
	}
}

func TestStreamsThatCannotBeAreAnsweredAsTheContractSays(t *testing.T) {
	f := newFace(t)
	for path, want := range map[string]int{
		"/v1/subscribe/a?cursor=nonsense&on_gap=fail":                    http.StatusGone,
		"/v1/subscribe/a?cursor=fin.1":                                   http.StatusNoContent,
		"/v1/subscribe/a?on_gap=maybe":                                   http.StatusBadRequest,
		"/v1/subscribe/a?slow=fast":                                      http.StatusBadRequest,
		"/v1/subscribe?topic=a&match=prefix":                             http.StatusBadRequest,
		"/v1/subscribe/a?retained=yes":                                   http.StatusBadRequest,
		"/v1/subscribe/a?event=name":                                     http.StatusBadRequest,
		"/v1/subscribe?" + strings.Repeat("topic=a&", 300):               http.StatusBadRequest,
		"/v1/realms/realm9/subscribe/a?cursor=1.abc":                     http.StatusNotFound,
		"/v1/subscribe/a?cursor=" + strings.Repeat("9", 9000):            http.StatusRequestURITooLong,
		"/v1/subscribe/a?cursor=%00%ff&on_gap=fail&lastEventId=x%0Ay":    http.StatusGone,
		"/v1/subscribe/a?cursor=1.0000000000000000000000001&on_gap=fail": http.StatusGone,
	} {
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != want || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%.60s: got %d %s, want %d", path, rec.Code, rec.Body, want)
		}
	}
	for _, wait := range []string{"61", "-1", "soon"} {
		if rec := f.do(t, http.MethodGet, "/v1/subscribe/a?wait="+wait, "", "Accept", "application/json"); rec.Code != http.StatusBadRequest {
			t.Errorf("wait=%s: got %d %s", wait, rec.Code, rec.Body)
		}
	}
}

func TestStreamOfARoleThatMayNotAskForThePastTellsOfAGapAndGoesOn(t *testing.T) {
	f := newFaceOver(t, router.RealmConfig{Name: "realm1", Roles: map[string]router.Role{"anonymous": {Permissions: []router.Permission{
		{Match: wampcore.MatchPrefix, Allow: router.AllActions}, {URI: "wamp.", Match: wampcore.MatchPrefix},
	}}}})
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	stream := f.open(t, srv, "/v1/subscribe/com.t?cursor="+cursorBehind(t, f, "com.t", `{"args":["before"]}`), "Accept", jsonl)
	if _, ready := stream.next("ready"); ready["resume"] != "gap" {
		t.Errorf("got %v", ready)
	}
	if _, gap := stream.next("gap"); gap["reason"] != "the router does not tell of the past" {
		t.Errorf("got %v", gap)
	}
	for range 4 { // every second one would have a cursor
		stream.next("heartbeat")
	}
	cursorBehind(t, f, "com.t", `{"args":["after"]}`)
	if line, _ := stream.next("event"); !strings.Contains(line, `["after"]`) {
		t.Errorf("got %s", line)
	}
	if rec := f.do(t, http.MethodGet, "/v1/history/com.t", ""); rec.Code != http.StatusForbidden {
		t.Errorf("the past: got %d %s", rec.Code, rec.Body)
	}
}
