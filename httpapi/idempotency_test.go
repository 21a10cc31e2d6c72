package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// counting registers a procedure that answers with how often it was called, or with an error of this URI.
func (f *face) counting(tb testing.TB, procedure, failure wampcore.URI) *atomic.Int64 {
	tb.Helper()
	var n atomic.Int64
	f.register(tb, procedure, func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		count := n.Add(1)
		if failure != "" {
			return wampcore.Payload{}, &wampcore.Error{URI: failure, Message: strconv.FormatInt(count, 10)}
		}
		return wampcore.NewPayload(wampcore.JSON, []any{count}, nil)
	})
	return &n
}

func TestRequestWithTheSameKeyIsDoneOnce(t *testing.T) {
	f := newFace(t)
	n := f.counting(t, "p", "")
	f.counting(t, "q", "")
	first := f.do(t, http.MethodPost, "/v1/call/p", `{"args":[1]}`, "Idempotency-Key", "k")
	again := f.do(t, http.MethodPost, "/v1/call/p", `{"args":[1]}`, "Idempotency-Key", "k")
	if n.Load() != 1 || again.Body.String() != first.Body.String() || again.Code != http.StatusOK ||
		again.Header().Get("Idempotency-Replayed") != "true" || first.Header().Get("Idempotency-Replayed") != "" {
		t.Errorf("called %d times; got %d %v %s", n.Load(), again.Code, again.Header(), again.Body)
	}
	for _, c := range []struct {
		path, body string
		header     []string
		want       int
	}{
		{"/v1/call/p", `{"args":[2]}`, []string{"Idempotency-Key", "k"}, 422},
		{"/v1/call/p?result=value", `{"args":[1]}`, []string{"Idempotency-Key", "k"}, 422},
		{"/v1/call/p", `{"args":[1]}`, []string{"Idempotency-Key", "k", "Accept", "application/cbor"}, 422},
		{"/v1/call/p", `{"args":[1]}`, []string{"Idempotency-Key", ""}, 400},
		{"/v1/call/p", `{"args":[1]}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400},
	} {
		if rec := f.do(t, http.MethodPost, c.path, c.body, c.header...); rec.Code != c.want {
			t.Errorf("%s %s %v: got %d %s, want %d", c.path, c.body, c.header, rec.Code, rec.Body, c.want)
		}
	}
	for _, c := range []struct{ path, key string }{{"/v1/call/p", "other"}, {"/v1/call/q", "k"}} {
		if rec := f.do(t, http.MethodPost, c.path, `{"args":[1]}`, "Idempotency-Key", c.key); rec.Header().Get("Idempotency-Replayed") != "" {
			t.Errorf("%v is taken for what was done before", c)
		}
	}
	if s := f.handler.Stats().Idempotency; s.Replayed != 1 || s.Mismatched != 3 || s.Entries != 3 {
		t.Errorf("counted %+v", s)
	}
}

func TestPublicationsAndBatchesWithTheSameKeyAreMadeOnce(t *testing.T) {
	f := newFace(t)
	got := f.listen(t)
	for _, c := range []struct{ path, body string }{
		{"/v1/publish/t", `{"args":[1]}`}, {"/v1/publish/t", `{"args":[2],"options":{"acknowledge":false}}`}, {"/v1/publish", `[{"topic":"t","args":[3]}]`},
	} {
		first := f.do(t, http.MethodPost, c.path, c.body, "Idempotency-Key", c.body)
		again := f.do(t, http.MethodPost, c.path, c.body, "Idempotency-Key", c.body)
		if first.Code != again.Code || first.Body.String() != again.Body.String() || again.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: got %d %s, then %d %s", c.path, first.Code, first.Body, again.Code, again.Body)
		}
	}
	for _, want := range []string{"t[1]", "t[2]", "t[3]"} {
		if have := <-got; have != want {
			t.Errorf("got %s, want %s", have, want)
		}
	}
	n := f.counting(t, "p", "")
	for range 2 {
		f.do(t, http.MethodPost, "/v1/call", `[{"procedure":"p"},{"procedure":"nothing"}]`, "Idempotency-Key", "k")
	}
	if n.Load() != 1 {
		t.Errorf("called %d times", n.Load())
	}
}

func TestWhatWasNotExecutedIsDoneAgain(t *testing.T) {
	f := newFace(t)
	for uri, want := range map[wampcore.URI]int64{
		"com.example.error": 1, wampcore.ErrRuntime: 1, wampcore.ErrTimeout: 1, wampcore.ErrUnavailable: 2, wampcore.ErrInvalidArgument: 2,
	} {
		procedure := "p." + uri
		n := f.counting(t, procedure, uri)
		first := f.do(t, http.MethodPost, "/v1/call/"+string(procedure), "", "Idempotency-Key", "k")
		again := f.do(t, http.MethodPost, "/v1/call/"+string(procedure), "", "Idempotency-Key", "k")
		if n.Load() != want || first.Code != again.Code {
			t.Errorf("%s: called %d times, want %d; got %d %s", uri, n.Load(), want, again.Code, again.Body)
		}
	}
	f.do(t, http.MethodPost, "/v1/call/late", "", "Idempotency-Key", "k")
	f.do(t, http.MethodPost, "/v1/call", `[{"procedure":"late"}]`, "Idempotency-Key", "k")
	f.counting(t, "late", "")
	for path, body := range map[string]string{"/v1/call/late": ``, "/v1/call": `[{"procedure":"late"}]`} {
		if rec := f.do(t, http.MethodPost, path, body, "Idempotency-Key", "k"); rec.Code != http.StatusOK || strings.Contains(rec.Body.String(), "404") {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
	}
}

func TestAnswerThatIsKeptIsNotSaidToChangeByTryingAgain(t *testing.T) {
	f := newFace(t)
	for uri, kept := range map[wampcore.URI]bool{
		wampcore.ErrTimeout: true, wampcore.ErrCanceled: true, wampcore.CloseKilled: true, wampcore.ErrUnavailable: false, wampcore.ErrNoAvailableCallee: false,
	} {
		procedure := "p." + uri
		f.counting(t, procedure, uri)
		for range 2 {
			rec := f.do(t, http.MethodPost, "/v1/call/"+string(procedure), "", "Idempotency-Key", "k")
			if strings.Contains(rec.Body.String(), `"retriable":true`) == kept || kept && rec.Header().Get("Retry-After") != "" {
				t.Errorf("%s: got %v %s", uri, rec.Header(), rec.Body)
			}
		}
		rec := f.do(t, http.MethodPost, "/v1/call/"+string(procedure), "")
		if !strings.Contains(rec.Body.String(), `"retriable":true`) {
			t.Errorf("%s without a key: got %s", uri, rec.Body)
		}
	}
}

func TestRequestWithAKeyGoesOnWhenItsClientIsGone(t *testing.T) {
	f := newFace(t)
	started, finish := make(chan struct{}), make(chan struct{})
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		close(started)
		select {
		case <-finish:
			return wampcore.NewPayload(wampcore.JSON, []any{"done"}, nil)
		case <-ctx.Done():
			return wampcore.Payload{}, ctx.Err()
		}
	})
	ctx, abandon := context.WithCancel(t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/call/p", nil)
	req.Header.Set("Idempotency-Key", "k")
	done := make(chan struct{})
	go func() {
		f.handler.ServeHTTP(httptest.NewRecorder(), req)
		close(done)
	}()
	<-started
	rec := f.do(t, http.MethodPost, "/v1/call/p", "", "Idempotency-Key", "k")
	if rec.Code != http.StatusConflict || rec.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %v", rec.Code, rec.Header())
	}
	abandon()
	close(finish)
	<-done
	rec = f.do(t, http.MethodPost, "/v1/call/p", "", "Idempotency-Key", "k")
	if rec.Body.String() != `{"args":["done"]}` || rec.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
}

func TestRequestThatWasNotExecutedLeavesNoKeyBehind(t *testing.T) {
	f := newFace(t)
	rec := f.do(t, http.MethodPost, "/v1/call/nothing", "", "Idempotency-Key", "k")
	if s := f.handler.Stats().Idempotency; rec.Code != http.StatusNotFound || s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("got %d, kept %+v", rec.Code, s)
	}
}
