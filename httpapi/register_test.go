package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
)

// lines reads a stream of JSON lines.
type lines struct {
	testing.TB
	scanner *bufio.Scanner
	end     func()
}

// open begins a stream that a test reads, and ends with it.
func (f *face) open(tb testing.TB, srv *httptest.Server, path string, header ...string) *lines {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	end := func() {
		cancel()
		_ = res.Body.Close()
	}
	tb.Cleanup(end)
	if res.StatusCode != http.StatusOK {
		tb.Fatalf("%s: got %s", path, res.Status)
	}
	return &lines{tb, bufio.NewScanner(res.Body), end}
}

// next returns the next line with this member, and the member's value.
func (l *lines) next(member string) (line string, value map[string]any) {
	l.Helper()
	for l.scanner.Scan() {
		var all map[string]json.RawMessage
		if err := json.Unmarshal(l.scanner.Bytes(), &all); err != nil {
			l.Fatalf("%s: %v", l.scanner.Bytes(), err)
		}
		if all[member] != nil {
			if err := json.Unmarshal(all[member], &value); err != nil {
				l.Fatal(err)
			}
			return l.scanner.Text(), value
		}
	}
	l.Fatalf("no %s came: %v", member, l.scanner.Err())
	return "", nil
}

const jsonl = "application/jsonl"

func TestProcedureIsOfferedByAStreamAndAnsweredByRequests(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	stream := f.open(t, srv, "/v1/register/com.shop.add?concurrency=2&invoke=roundrobin", "Accept", jsonl)
	stream.next("ready")
	answers := make(chan *httptest.ResponseRecorder, 1)
	call := func() {
		answers <- f.do(t, http.MethodPost, "/v1/call/com.shop.add", `{"args":[2,18446744073709551615]}`)
	}
	go call()
	line, inv := stream.next("invocation")
	id, _ := inv["invocation"].(string)
	if !strings.Contains(line, `"args":[2,18446744073709551615]`) || inv["procedure"] != "com.shop.add" {
		t.Errorf("got %s", line)
	}
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/v1/yield/" + id, `{"kwargs":[]}`, 400},
		{"/v1/yield/" + id, `{"options":{"progress":1}}`, 400},
		{"/v1/yield/" + id, `{"options":{"x":1}}`, 400},
		{"/v1/error/" + id, `{}`, 400},
		{"/v1/error/" + id, `{"error":"a..b"}`, 400},
		{"/v1/error/" + id, ``, 400},
		{"/v1/yield/nothing", ``, 404},
		{"/v1/realms/realm2/yield/" + id, ``, 404},
		{"/v1/yield/" + id, `{"args":[1],"options":{"progress":true}}`, 204}, // the caller takes none
		{"/v1/yield/" + id, `{"args":[5]}`, 204},
		{"/v1/yield/" + id, `{"args":[5]}`, 410},
		{"/v1/error/" + id, `{"error":"com.shop.no"}`, 410},
	} {
		if rec := f.do(t, http.MethodPost, c.path, c.body); rec.Code != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.path, c.body, rec.Code, rec.Body, c.want)
		}
	}
	if rec := <-answers; rec.Code != 200 || rec.Body.String() != `{"args":[5]}` {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	go call()
	_, inv = stream.next("invocation")
	id, _ = inv["invocation"].(string)
	if rec := f.do(t, http.MethodPost, "/v1/error/"+id, `{"error":"com.shop.no","kwargs":{"http_status":418}}`); rec.Code != 204 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := <-answers; rec.Code != 418 || rec.Header().Get("Wamp-Error") != "com.shop.no" {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestStreamOfInvocationsSpeaksServerSentEvents(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	stream := f.open(t, srv, "/v1/register/p")
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/v1/call/p", nil)
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan struct{})
	go func() {
		defer close(called)
		if res, err := srv.Client().Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	var names []string
	for stream.scanner.Scan() {
		name, ok := strings.CutPrefix(stream.scanner.Text(), "event: ")
		if !ok {
			continue
		}
		names = append(names, name)
		if name == "invocation" {
			giveUp() // the caller hangs up
		}
		if name == "interrupt" {
			break
		}
	}
	<-called
	if got := strings.Join(names, " "); got != "wamp.ready invocation interrupt" {
		t.Errorf("got %s", got)
	}
	stream.end()
	_, err = f.bridge.Offer(t.Context(), bridge.Principal{Realm: "realm1"}, bridge.OfferRequest{Procedure: "p"}, "")
	if err != nil {
		t.Errorf("the same principal does not get it back: %v", err)
	}
}

func TestServicesAreToldToComeBackAtTimesOfTheirOwn(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	lines, events := f.open(t, srv, "/v1/register/p", "Accept", jsonl), f.open(t, srv, "/v1/register/q")
	lines.next("ready")
	for events.scanner.Scan() && !strings.HasPrefix(events.scanner.Text(), "data: ") {
	}
	go func() { _ = f.bridge.Withdraw(t.Context(), 0) }()
	if line, bye := lines.next("bye"); bye["reason"] != bridge.ErrDraining.Error() || bye["retry"] == nil {
		t.Errorf("got %s", line)
	}
	var said strings.Builder
	for events.scanner.Scan() {
		said.WriteString(events.scanner.Text() + "\n")
	}
	if got := said.String(); !strings.HasPrefix(got, "\nretry: ") || !strings.Contains(got, "\nevent: wamp.bye\ndata: {\"reason\":") {
		t.Errorf("got %q", got)
	}
}

func TestOffersThatCannotBeAreRefused(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	f.open(t, srv, "/v1/register/taken", "Accept", jsonl).next("ready")
	for path, want := range map[string]int{
		"/v1/register/p?match=x": 400, "/v1/register/p?invoke=x": 400, "/v1/register/p?concurrency=0": 400, "/v1/register/p?concurrency=2000": 400,
		"/v1/register/a..b": 400, "/v1/register/wamp.x": 400, "/v1/register/taken": 409, "/v1/realms/nowhere/register/p": 404,
	} {
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != want {
			t.Errorf("%s: got %d %s, want %d", path, rec.Code, rec.Body, want)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/register/p", "", "Accept", "text/html"); rec.Code != 406 {
		t.Errorf("got %d", rec.Code)
	}
}
