package httpapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func TestErrorsOfApplicationsHaveTheConfiguredStatus(t *testing.T) {
	f := newFace(t, func(c *httpapi.Config) {
		c.Errors = []httpapi.ErrorStatus{
			{URI: "com.shop.gone", Status: 410},
			{URI: "com.shop.", Match: wampcore.MatchPrefix, Status: 409},
			{URI: "com.shop.order", Match: wampcore.MatchPrefix, Status: 404},
			{URI: "com..busy", Match: wampcore.MatchWildcard, Status: 503},
			{URI: "com..busy", Match: wampcore.MatchWildcard, Status: 500},
			{URI: "com.paid", Status: 402},
		}
	})
	for uri, want := range map[wampcore.URI]int{
		"com.shop.gone": 410, "com.shop.other": 409, "com.shop.order.lost": 404, "com.bank.busy": 503, "com.shop.busy": 409,
		"com.bank.busy.very": 422, "com.bank": 422, "com.paid": 402,
	} {
		s := f.register(t, "p", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
			return wampcore.Payload{}, &wampcore.Error{URI: uri}
		})
		rec := f.do(t, http.MethodPost, "/v1/call/p", "")
		if rec.Code != want || (rec.Header().Get("Retry-After") != "") != (want == 503) {
			t.Errorf("%s: got %d %v %s, want %d", uri, rec.Code, rec.Header(), rec.Body, want)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.register(t, "p", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		p, err := wampcore.NewPayload(wampcore.JSON, nil, map[string]any{"http_status": 418})
		if err != nil {
			return p, err
		}
		return wampcore.Payload{}, &wampcore.Error{URI: "com.shop.gone", Payload: p}
	})
	if rec := f.do(t, http.MethodPost, "/v1/call/p", ""); rec.Code != 418 {
		t.Errorf("got %d, want the callee's status", rec.Code)
	}
}
