package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wampgate/wampgate/httpapi"
)

func TestWhatIsAnsweredWholeHasHEAD(t *testing.T) {
	f := routedTo(t)
	for _, c := range []struct {
		path  string
		want  int
		allow string // of a method that nothing has
	}{
		{"/livez", 200, "GET, HEAD"},
		{"/readyz", 200, "GET, HEAD"},
		{"/openapi.yaml", 200, "GET, HEAD"},
		{"/v1/sessions", 200, "GET, HEAD"},
		{"/v1/realms/realm1/sessions", 200, "GET, HEAD"},
		{"/v1/sessions/1", 404, "GET, HEAD, DELETE"},
		{"/v1/history/com.t", 200, "GET, HEAD"},
		{"/v1/subscribe/com.t", 405, "GET"},
		{"/v1/subscribe", 405, "GET"},
		{"/v1/realms/realm1/subscribe/com.t", 405, "GET"},
		{"/v1/register/com.p", 405, "GET"},
		{"/v1/call/com.p", 405, "POST"},
		{"/ws", 405, "GET"},
		{"/orders", 405, "GET, POST"}, // which may not be safe
		{"/orders/1", 200, "GET, HEAD, PUT, PATCH, DELETE"},
		{"/nothing", 404, ""},
	} {
		if rec := f.do(t, http.MethodHead, c.path, ""); rec.Code != c.want {
			t.Errorf("HEAD %s: got %d, want %d", c.path, rec.Code, c.want)
		}
		if allow := f.do(t, http.MethodTrace, c.path, "").Header().Get("Allow"); allow != c.allow {
			t.Errorf("%s allows %s, want %s", c.path, allow, c.allow)
		}
	}
}

func TestHEADIsWhatGETIsWithoutTheContent(t *testing.T) {
	for name, h := range map[string]http.Handler{"the face": newFace(t).handler, "the probes alone": httpapi.Ops(httpapi.Config{})} {
		srv := httptest.NewServer(h)
		defer srv.Close()
		defer http.DefaultClient.CloseIdleConnections()
		res, err := http.Head(srv.URL + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || len(body) > 0 {
			t.Errorf("%s: got %d %v %q", name, res.StatusCode, res.Header, body)
		}
	}
}
