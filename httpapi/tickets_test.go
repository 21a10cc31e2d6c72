package httpapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
)

func (f *face) ticket(t *testing.T, path string, header ...string) string {
	t.Helper()
	rec := f.do(t, http.MethodPost, path, "", header...)
	var made struct {
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil || made.Ticket == "" || made.ExpiresIn < 29 || made.ExpiresIn > 30 {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	if cache := rec.Header().Get("Cache-Control"); cache != "no-store" || rec.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("got %v", rec.Header())
	}
	return made.Ticket
}

func TestTicketOpensOneStreamAsItsMaker(t *testing.T) {
	var log logged
	f := newFace(t, strict, func(cfg *httpapi.Config) { cfg.Log = zerolog.New(&log) })
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close) // after the streams
	ticket := f.ticket(t, "/v1/ticket", as("joe")...)
	res, _ := open(t, srv.URL+"/v1/subscribe/com.t?ticket="+ticket) //nolint:bodyclose // by open
	if res.StatusCode != http.StatusOK {
		t.Fatalf("got %d", res.StatusCode)
	}
	rec := f.do(t, http.MethodGet, "/v1/sessions", "", as("joe")...)
	seen := false
	var list struct{ Sessions []json.Number }
	_ = json.Unmarshal(rec.Body.Bytes(), &list)
	for _, id := range list.Sessions {
		said := f.do(t, http.MethodGet, "/v1/sessions/"+id.String(), "", as("joe")...).Body.String()
		seen = seen || strings.Contains(said, `"authid":"joe"`)
	}
	if !seen {
		t.Error("the stream's session is not joe's")
	}
	if again := f.do(t, http.MethodGet, "/v1/subscribe/com.t?ticket="+ticket, ""); again.Code != http.StatusUnauthorized {
		t.Errorf("used again: got %d", again.Code)
	}
	if n := f.handler.Stats().Refused["ticket"]; n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
	if strings.Contains(log.String(), ticket) || !strings.Contains(log.String(), "/v1/subscribe/com.t") {
		t.Errorf("the log has %s", log.String())
	}
}

func TestTicketsThatAreGoodForNothing(t *testing.T) {
	f := newFace(t, known)
	for _, c := range []struct {
		path string
		want int
	}{
		{"/v1/realms/realm2/subscribe/com.t?ticket=", 403},
		{"/v1/sessions?ticket=", 400},
		{"/v1/retained/com.t?ticket=", 400},
	} {
		path := c.path + f.ticket(t, "/v1/ticket", as("root")...)
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != c.want {
			t.Errorf("%s: got %d %s, want %d", c.path, rec.Code, rec.Body, c.want)
		}
	}
	used := f.ticket(t, "/v1/realms/realm2/ticket", as("ann")...)
	for _, path := range []string{"?ticket=", "?ticket=nothing", "?ticket=a&ticket=b", "?ticket=" + used + "&ticket=" + used} {
		if rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t"+path, ""); rec.Code != http.StatusUnauthorized && rec.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d", path, rec.Code)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t?ticket="+used, "", as("joe")...); rec.Code != http.StatusBadRequest {
		t.Errorf("with a header, too: got %d", rec.Code)
	}
	if rec := f.do(t, http.MethodPost, "/v1/ticket", ""); rec.Code != http.StatusUnauthorized {
		t.Errorf("anonymous gets one: %d", rec.Code)
	}
	if rec := f.do(t, http.MethodPost, "/v1/ticket", "", as("ann")...); rec.Code != http.StatusForbidden {
		t.Errorf("for another realm: got %d", rec.Code)
	}
}

func TestSecretsInAQueryAreRefused(t *testing.T) {
	f := newFace(t, known)
	for _, path := range []string{"/v1/subscribe/t?access_token=joe", "/v1/sessions?token=joe", "/ws?access_token=joe", "/v1/subscribe/t?API_KEY=x"} {
		rec := f.do(t, http.MethodGet, path, "")
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "/v1/ticket") {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
	}
}

func TestTicketExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFace(t, known)
		fresh, old := f.ticket(t, "/v1/ticket", as("joe")...), f.ticket(t, "/v1/ticket", as("joe")...)
		time.Sleep(29 * time.Second) //nolint:forbidigo // of the bubble
		stream, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		rec := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(stream, http.MethodGet, "http://localhost/v1/subscribe/com.t?ticket="+fresh, nil)
		f.handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			t.Errorf("after 29 seconds: got %d", rec.Code)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble
		if rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t?ticket="+old, ""); rec.Code != http.StatusUnauthorized {
			t.Errorf("after 31 seconds: got %d", rec.Code)
		}
	})
}

func TestTicketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFace(t, known)
		for range 100 {
			f.ticket(t, "/v1/ticket", as("joe")...)
		}
		expectTooMany(t, f, f.do(t, http.MethodPost, "/v1/ticket", "", as("joe")...), "tickets")
		f.ticket(t, "/v1/ticket", as("root")...)
		time.Sleep(31 * time.Second) //nolint:forbidigo // of the bubble
		f.ticket(t, "/v1/ticket", as("joe")...)
	})
}

func TestWebSocketWithATicketIsVouchedFor(t *testing.T) {
	var got bridge.Principal
	var query string
	var until context.Context
	vouched := false
	f := newFace(t, known, func(cfg *httpapi.Config) {
		cfg.WebSocket = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			query = r.URL.RawQuery
			v := httpapi.Vouched(r.Context()) //nolint:contextcheck // it has the session's
			if vouched = v != nil; vouched {
				got, until = v.Principal, v.Until
			}
		})
	})
	ticket := f.ticket(t, "/v1/realms/realm2/ticket", as("ann")...)
	ask := func(path string) int {
		rec := httptest.NewRecorder()
		f.handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil))
		return rec.Code
	}
	ask("/ws?ticket=" + ticket)
	if want := (bridge.Principal{Realm: "realm2", AuthID: "ann", AuthRole: "user", Method: "test"}); got != want || !vouched || query != "" {
		t.Errorf("got %+v %t, query %q, want %+v", got, vouched, query, want)
	}
	if code := ask("/ws?ticket=" + ticket); code != http.StatusUnauthorized {
		t.Errorf("used again: got %d", code)
	}
	ask("/ws")
	if vouched {
		t.Error("without a ticket it is vouched for, too")
	}
	if until.Err() != nil {
		t.Errorf("it is over before its credentials are: %v", context.Cause(until))
	}
	f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{names{}}}, httpapi.Limits{})
	if until.Err() == nil {
		t.Error("it goes on although its credentials were taken back")
	}
}

func TestStreamsEndWhenTheirCredentialsAreTakenBack(t *testing.T) {
	f := newFace(t, known)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)                                                                                  // after the streams
	_, joe := open(t, srv.URL+"/v1/subscribe/com.t", as("joe")...)                                        //nolint:bodyclose // by open
	_, byTicket := open(t, srv.URL+"/v1/subscribe/com.t?ticket="+f.ticket(t, "/v1/ticket", as("joe")...)) //nolint:bodyclose // by open
	unused := f.ticket(t, "/v1/ticket", as("joe")...)
	_, root := open(t, srv.URL+"/v1/subscribe/com.t", as("root")...) //nolint:bodyclose // by open
	less := folks()
	delete(less, "joe")
	f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{less}}, httpapi.Limits{})
	for name, r := range map[string]io.Reader{"joe's": joe, "the ticket's": byTicket} {
		said, err := io.ReadAll(r)
		if !strings.HasSuffix(string(said), "event: wamp.bye\ndata: {\"reason\":\"the credentials of the stream were taken back\"}\n\n") {
			t.Errorf("%s stream said %s, %v", name, said, err)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/sessions", "", as("joe")...); rec.Code != http.StatusUnauthorized {
		t.Errorf("joe: got %d", rec.Code)
	}
	if rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t?ticket="+unused, ""); rec.Code != http.StatusUnauthorized {
		t.Errorf("joe's ticket: got %d", rec.Code)
	}
	if rec := f.do(t, http.MethodPost, "/v1/publish/com.t", `{"args":["on"]}`, as("root")...); rec.Code != http.StatusOK {
		t.Fatalf("got %d", rec.Code)
	}
	for line := ""; !strings.Contains(line, `"on"`); {
		var err error
		if line, err = root.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}
