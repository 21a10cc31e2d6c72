package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// get decodes a 200 into v.
func (f *face) get(t *testing.T, path string, v any) http.Header {
	t.Helper()
	rec := f.do(t, http.MethodGet, path, "")
	if rec.Code != http.StatusOK {
		t.Fatalf("%s: got %d %s", path, rec.Code, rec.Body)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), v); err != nil {
		t.Fatalf("%s: %s: %v", path, rec.Body, err)
	}
	return rec.Header()
}

func (f *face) join(t *testing.T) *client.Session {
	t.Helper()
	s, err := client.Join(t.Context(), f.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionsAreListedDescribedAndEnded(t *testing.T) {
	f := newFace(t)
	want := map[wampcore.ID]*client.Session{}
	for range 5 {
		s := f.join(t)
		want[s.ID()] = s
	}
	after, seen := "", 0
	for {
		var page struct {
			Sessions []wampcore.ID
			Next     wampcore.ID
		}
		f.get(t, "/v1/realms/realm1/sessions?limit=2"+after, &page)
		for _, id := range page.Sessions {
			if want[id] != nil {
				seen++
			}
		}
		if page.Next == 0 {
			break
		}
		after = fmt.Sprintf("&after=%d", page.Next)
	}
	if seen != len(want) {
		t.Errorf("%d of %d sessions are listed", seen, len(want))
	}
	for id, s := range want {
		var described struct{ Session wampcore.ID }
		path := fmt.Sprintf("/v1/sessions/%d", id)
		f.get(t, path, &described)
		if described.Session != id {
			t.Errorf("session %d is described as %d", id, described.Session)
		}
		if rec := f.do(t, http.MethodDelete, path+"?reason=com.example.out&message=bye", ""); rec.Code != http.StatusNoContent {
			t.Fatalf("got %d %s", rec.Code, rec.Body)
		}
		<-s.Done()
		if err := s.Err(); err == nil || err.Error() != "com.example.out: bye" {
			t.Errorf("the session ended with %v", err)
		}
		if rec := f.do(t, http.MethodDelete, path, ""); rec.Code != http.StatusNotFound {
			t.Errorf("got %d, want 404", rec.Code)
		}
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != http.StatusNotFound {
			t.Errorf("got %d, want 404", rec.Code)
		}
	}
}

func TestRegistrationsAndSubscriptionsAreListedAndDescribed(t *testing.T) {
	f := newFace(t)
	s := f.join(t)
	reg, err := s.Register(t.Context(), "com.", nil, wampcore.RegisterOptions{Match: wampcore.MatchPrefix})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := s.Subscribe(t.Context(), "com.t", nil, wampcore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind, members, uri, match string
		id                        wampcore.ID
	}{{"registrations", "callees", "com.", "prefix", reg.ID()}, {"subscriptions", "subscribers", "com.t", "exact", sub.ID()}} {
		var list map[string][]struct {
			ID    wampcore.ID
			Match string
		}
		f.get(t, "/v1/"+c.kind, &list)
		if got := list[c.kind]; len(got) != 1 || got[0].ID != c.id || got[0].Match != c.match {
			t.Errorf("%s: got %+v", c.kind, got)
		}
		var described map[string]any
		f.get(t, fmt.Sprintf("/v1/%s/%d", c.kind, c.id), &described)
		members := fmt.Sprintf("%.0f", described[c.members])
		if described["uri"] != c.uri || described["match"] != c.match || members != fmt.Sprintf("[%d]", s.ID()) {
			t.Errorf("%s: got %v", c.kind, described)
		}
		if rec := f.do(t, http.MethodGet, "/v1/"+c.kind+"/99", ""); rec.Code != http.StatusNotFound {
			t.Errorf("got %d, want 404", rec.Code)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPastAndRetainedEventsAreReturnedExactly(t *testing.T) {
	f := newFace(t)
	if rec := f.do(t, http.MethodGet, "/v1/retained/com.t", ""); rec.Code != http.StatusNotFound {
		t.Errorf("got %d, want 404", rec.Code)
	}
	for i := range 5 {
		body := fmt.Sprintf(`{"args":[%d,9007199254740993],"kwargs":{"k":"\u0000AAE="},"options":{"retain":%t}}`, i, i == 2)
		if rec := f.do(t, http.MethodPost, "/v1/publish/com.t", body); rec.Code != http.StatusOK {
			t.Fatalf("got %d %s", rec.Code, rec.Body)
		}
	}
	rec := f.do(t, http.MethodGet, "/v1/retained/com.t", "")
	if want := `"args":[2,9007199254740993],"kwargs":{"k":"\u0000AAE="},"details":{"retained":true}`; !strings.Contains(rec.Body.String(), want) {
		t.Errorf("got %d %s, want %s", rec.Code, rec.Body, want)
	}
	if rec.Header().Get("Wamp-Cursor") == "" {
		t.Error("there is no Wamp-Cursor")
	}
	type history struct {
		Events []struct {
			Topic, Timestamp string
			Args             []json.Number
			Kwargs           map[string]string
		}
		More, Gap bool
	}
	next, got := "", make([]string, 0, 6)
	for page := range 3 {
		var h history
		cursor := f.get(t, "/v1/history/com.?match=prefix&limit=2"+next, &h).Get("Wamp-Cursor")
		for _, e := range h.Events {
			got = append(got, e.Args[0].String())
			if e.Topic != "com.t" || e.Timestamp == "" || e.Args[1] != "9007199254740993" || e.Kwargs["k"] != "\x00AAE=" {
				t.Errorf("got %+v", e)
			}
		}
		if h.More != (page < 2) || h.Gap {
			t.Errorf("page %d: more %t, gap %t", page, h.More, h.Gap)
		}
		next = "&after=" + cursor
	}
	if strings.Join(got, "") != "01234" {
		t.Errorf("got %v", got)
	}
	first := cursorBehind(t, f, "com.x", `{}`)
	cursorBehind(t, f, "com.x", `{"args":[1,2]}`)
	var later, resumed history
	end := f.get(t, "/v1/history/com.x?after="+first, &later).Get("Wamp-Cursor") // the cursors of publications, streams and pages are the same
	f.get(t, "/v1/subscribe/com.x?wait=0&cursor="+end, &resumed)
	if len(later.Events) != 1 || later.Gap || len(resumed.Events) != 0 {
		t.Errorf("behind %s there is %+v, and behind %s %+v", first, later, end, resumed)
	}
	if rec := f.do(t, http.MethodGet, "/v1/history/com.x?after=nonsense", ""); rec.Code != http.StatusBadRequest {
		t.Errorf("got %d, want 400", rec.Code)
	}
	var none history
	if f.get(t, "/v1/history/com.none?after=7", &none); len(none.Events) != 0 || !none.Gap {
		t.Errorf("got %+v", none)
	}
	end = f.get(t, "/v1/history/com.none", &none).Get("Wamp-Cursor")
	cursorBehind(t, f, "com.none", `{}`)
	if f.get(t, "/v1/subscribe/com.none?wait=0&cursor="+end, &resumed); len(resumed.Events) != 1 || end == "" {
		t.Errorf("behind the end of nothing, %q, there is %+v", end, resumed)
	}
	var session struct{ Subscriptions []any }
	if f.get(t, "/v1/subscriptions", &session); len(session.Subscriptions) != 0 {
		t.Errorf("%v are left behind", session.Subscriptions)
	}
}

func TestWhatCannotBeListedIsRefused(t *testing.T) {
	f := newFace(t)
	for path, want := range map[string]int{
		"/v1/sessions/x": 400, "/v1/sessions/0": 400, "/v1/sessions/9007199254740993": 400, "/v1/sessions?limit=0": 400,
		"/v1/sessions?limit=1001": 400, "/v1/sessions?after=x": 400, "/v1/history/com.t?match=bogus": 400,
		"/v1/history/com.t?limit=x": 400, "/v1/history/a..b": 400, "/v1/retained/a%20b": 400,
		"/v1/realms/nowhere/sessions": 404, "/v1/realms/nowhere/history/t": 404,
	} {
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != want {
			t.Errorf("%s: got %d %s, want %d", path, rec.Code, rec.Body, want)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/sessions", "", "Accept", "text/html"); rec.Code != http.StatusNotAcceptable {
		t.Errorf("got %d, want 406", rec.Code)
	}
	rec := f.do(t, http.MethodPut, "/v1/sessions/"+strconv.Itoa(1), "")
	if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD, DELETE" {
		t.Errorf("got %d, Allow %q", rec.Code, rec.Header().Get("Allow"))
	}
}

func TestStreamWhoseSubscriptionIsTakenAwayIsTold(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/subscribe/com.t", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var list struct{ Subscriptions []struct{ ID wampcore.ID } }
	f.get(t, "/v1/subscriptions", &list)
	var described struct{ Subscribers []wampcore.ID }
	f.get(t, fmt.Sprintf("/v1/subscriptions/%d", list.Subscriptions[0].ID), &described)
	body := fmt.Sprintf(`{"args":[%d,%d],"kwargs":{"reason":"why"}}`, list.Subscriptions[0].ID, described.Subscribers[0])
	if rec := f.do(t, http.MethodPost, "/v1/call/wamp.subscription.remove_subscriber", body); rec.Code != http.StatusOK {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	said, err := io.ReadAll(res.Body)
	if !strings.Contains(string(said), "event: wamp.error\n") || !strings.Contains(string(said), `"detail":"why"`) {
		t.Errorf("the stream said %s, %v", said, err)
	}
}

func TestWhatAnOperatorEndsForAReasonOfItsOwnIsKilled(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	const why = "?reason=com.example.out&message=bye"
	stream := f.open(t, srv, "/v1/subscribe/com.t", "Accept", jsonl)
	_, ready := stream.next("ready")
	if rec := f.do(t, http.MethodDelete, fmt.Sprintf("/v1/sessions/%s%s", ready["stream"], why), ""); rec.Code != http.StatusNoContent {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	line, said := stream.next("error")
	if said["status"] != 503.0 || said["detail"] != "bye" || !strings.Contains(line, `{"error":"com.example.out"`) {
		t.Errorf("the stream said %s", line)
	}
	if rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t?cursor=fin.killed", ""); rec.Code != http.StatusNoContent || !strings.Contains(line, `{"id":"fin.killed",`) {
		t.Errorf("its reader would come back: %s", line)
	}
	s := f.join(t)
	if _, err := s.Register(t.Context(), "com.p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		all, err := client.Call[[]wampcore.ID](ctx, s, "wamp.session.list")
		for _, id := range all {
			if id != s.ID() {
				payload := wampcore.Payload{Encoding: wampcore.JSON, Args: fmt.Appendf(nil, "[%d]", id), Kwargs: []byte(`{"reason":"com.example.out"}`)}
				_, err = s.Call(ctx, "wamp.session.kill", payload, wampcore.CallOptions{})
			}
		}
		<-ctx.Done()
		return wampcore.Payload{}, err
	}, wampcore.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	rec := f.do(t, http.MethodPost, "/v1/call/com.p", "")
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), `"outcome":"unknown"`) {
		t.Errorf("the call: got %d %s", rec.Code, rec.Body)
	}
}
