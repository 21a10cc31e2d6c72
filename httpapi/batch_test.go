package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func TestCallsOfABatchAreAnsweredInOrder(t *testing.T) {
	f := newFace(t)
	f.echo(t)
	const batch = `[{"procedure":"com.example.echo","args":[1]},{"procedure":"nothing"},{"procedure":"com.example.echo","kwargs":{"a":2}},{"procedure":"a..b"}]`
	for e, name := range mediaTypes {
		rec := f.do(t, http.MethodPost, "/v1/call", fromJSON(e, batch), "Content-Type", name)
		var got []struct {
			Args   []int
			Kwargs map[string]int
			Status int
			Detail string
		}
		if err := json.Unmarshal(toJSON(e, rec.Body.Bytes()), &got); rec.Code != http.StatusOK || err != nil || len(got) != 4 {
			t.Fatalf("%s: got %d %s, %v", e, rec.Code, rec.Body, err)
		}
		if got[0].Args[0] != 1 || got[1].Status != http.StatusNotFound || got[2].Kwargs["a"] != 2 || got[3].Status != http.StatusBadRequest {
			t.Errorf("%s: got %+v", e, got)
		}
	}
}

func largeBodies(c *httpapi.Config) { c.MaxBody = 1 << 20 }

func TestCallsOfABatchRunSideBySide(t *testing.T) {
	f := newFace(t, largeBodies)
	const n = 50
	open := make(chan struct{}, n)
	all := make(chan struct{})
	go func() {
		for range n {
			<-open
		}
		close(all)
	}()
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		open <- struct{}{}
		select {
		case <-all:
			return wampcore.Payload{}, nil
		case <-ctx.Done():
			return wampcore.Payload{}, ctx.Err()
		}
	})
	body := `[` + strings.Repeat(`{"procedure":"p"},`, n-1) + `{"procedure":"p"}]`
	if rec := f.do(t, http.MethodPost, "/v1/call", body); strings.Count(rec.Body.String(), "{}") != n {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestCallOfABatchMayHaveAShorterDeadline(t *testing.T) {
	f := newFace(t)
	f.echo(t)
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		<-ctx.Done()
		return wampcore.Payload{}, ctx.Err()
	})
	rec := f.do(t, http.MethodPost, "/v1/call", `[{"procedure":"p","options":{"timeout":20}},{"procedure":"com.example.echo"}]`)
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"status":504`) || !strings.HasSuffix(rec.Body.String(), `,{}]`) {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestBatchThatIsNotWellFormedIsRefusedAsAWhole(t *testing.T) {
	f := newFace(t, largeBodies)
	for path, uri := range map[string]string{"/v1/call": "procedure", "/v1/publish": "topic"} {
		most := map[string]int{"/v1/call": 100, "/v1/publish": 1000}[path]
		for body, want := range map[string]string{
			``:                                "is no list",
			`{}`:                              "for one alone, put its " + uri + " into the path",
			`[1]`:                             "element 0: it is no object",
			`[{"` + uri + `":"a"},{}]`:        "element 1: " + uri + " is missing",
			`[{"` + uri + `":1}]`:             uri + " is no text",
			`[{"` + uri + `":"a","x":1}]`:     "unknown member",
			`[{"` + uri + `":"a","args":{}}]`: "args is not a list",
			`[{"` + uri + `":"a","options":{"x":1}}]`:                               "unknown option",
			`[` + strings.Repeat(`{"`+uri+`":"a"},`, most) + `{"` + uri + `":"a"}]`: fmt.Sprintf("more than the %d elements", most),
		} {
			rec := f.do(t, http.MethodPost, path, body)
			if rec.Code != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(rec.Body.String(), `\`, ``), want) {
				t.Errorf("%s %.60s: got %d %.300s, want %s", path, body, rec.Code, rec.Body, want)
			}
		}
		if rec := f.do(t, http.MethodPost, path, `[]`); rec.Code != http.StatusOK || rec.Body.String() != `[]` {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
		if rec := f.do(t, http.MethodPost, path+"?as=args", `[]`); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
	}
}

// listen subscribes to everything and returns what comes: topic and arguments.
func (f *face) listen(tb testing.TB) chan string {
	tb.Helper()
	s, err := client.Join(tb.Context(), f.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		tb.Fatal(err)
	}
	got := make(chan string, 2000)
	_, err = s.Subscribe(tb.Context(), "", func(_ context.Context, e *wampcore.Event) {
		got <- string(e.Details.Topic) + string(e.Payload.Args)
	}, wampcore.SubscribeOptions{Match: wampcore.MatchPrefix})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestPublicationsOfABatchArePublishedInOrder(t *testing.T) {
	f := newFace(t, largeBodies)
	got := f.listen(t)
	items := make([]string, 0, 1000)
	for i := range 1000 {
		items = append(items, fmt.Sprintf(`{"topic":"t%d","args":[%d],"options":{"acknowledge":%t}}`, i%3, i, i%10 != 0))
	}
	rec := f.do(t, http.MethodPost, "/v1/publish", "["+strings.Join(items, ",")+"]")
	if rec.Code != http.StatusOK || strings.Count(rec.Body.String(), `{"publication":`) != 900 || strings.Count(rec.Body.String(), `{}`) != 100 {
		t.Fatalf("got %d %.300s", rec.Code, rec.Body)
	}
	for i := range 1000 {
		if have, want := <-got, fmt.Sprintf("t%d[%d]", i%3, i); have != want {
			t.Fatalf("got %s, want %s", have, want)
		}
	}
}

var saysWhyNothingWasPublished = regexp.MustCompile(
	`"detail":"nothing was published: element \d, [^:]+: (the authrole anonymous may not publish no\.b|topic is reserved|want components)`)

func TestNothingOfABatchIsPublishedIfAnyOfItWouldBeRefused(t *testing.T) {
	f := newFaceOver(t, router.RealmConfig{
		Name: "realm1",
		Roles: map[string]router.Role{"anonymous": {Permissions: []router.Permission{
			{URI: "may", Match: wampcore.MatchPrefix, Allow: router.ActionPublish | router.ActionSubscribe},
			{URI: "", Match: wampcore.MatchPrefix, Allow: router.ActionSubscribe},
		}}},
	})
	got := f.listen(t)
	for body, want := range map[string]int{
		`[{"topic":"may.a","args":[1]},{"topic":"no.b","args":[2]}]`:                      403,
		`[{"topic":"may.a","args":[1]},{"topic":"a..b","args":[2]}]`:                      400,
		`[{"topic":"may.a","args":[1]},{"topic":"wamp.x","args":[2]}]`:                    400,
		`[{"topic":"no.b","args":[2],"options":{"acknowledge":false}},{"topic":"may.a"}]`: 403,
		`[{"topic":"no.b","args":[2]}]`:                                                   403,
		`[{"topic":"no.b","args":[2],"options":{"acknowledge":false}}]`:                   403,
		`[{"topic":"wamp.x","args":[2]}]`:                                                 400,
	} {
		rec := f.do(t, http.MethodPost, "/v1/publish", body)
		if rec.Code != want || !saysWhyNothingWasPublished.MatchString(rec.Body.String()) ||
			!strings.Contains(rec.Body.String(), `"outcome":"not_executed"`) {
			t.Errorf("%s: got %d %s, want %d", body, rec.Code, rec.Body, want)
		}
	}
	if rec := f.do(t, http.MethodPost, "/v1/publish", `[{"topic":"may.a","args":[3]},{"topic":"may.b","args":[4]}]`); rec.Code != http.StatusOK {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	for _, want := range []string{"may.a[3]", "may.b[4]"} {
		if have := <-got; have != want {
			t.Errorf("got %s, want %s", have, want)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/history/may?match=prefix", ""); strings.Count(rec.Body.String(), `"publication":`) > 2 {
		t.Errorf("what was only asked is remembered: %s", rec.Body)
	}
}
