package httpapi_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

const ever = 100 * 365 * 24 * time.Hour

// hooked is a face with a webhook of each provider, and what they publish.
func hooked(tb testing.TB, tolerance time.Duration, secrets ...string) (*face, <-chan string) {
	tb.Helper()
	all := map[string]httpapi.Inbound{}
	for _, provider := range httpapi.Providers() {
		all[provider] = httpapi.Inbound{
			Provider: provider, Secrets: secrets, Topic: wampcore.URI("com.hook." + provider), Tolerance: tolerance,
			Principal: bridge.Principal{Realm: "realm1", AuthID: "hooks", AuthRole: "publisher", Method: "inbound"},
		}
	}
	f := newFace(tb, func(cfg *httpapi.Config) { cfg.Inbound = all })
	s, err := client.Join(tb.Context(), f.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		tb.Fatal(err)
	}
	events := make(chan string, 100)
	_, err = s.Subscribe(tb.Context(), "com.hook", func(_ context.Context, e *wampcore.Event) {
		p := e.Payload.Transcode(wampcore.JSON)
		events <- string(e.Details.Topic) + " " + string(p.Args) + " " + string(p.Kwargs)
	}, wampcore.SubscribeOptions{Match: wampcore.MatchPrefix})
	if err != nil {
		tb.Fatal(err)
	}
	return f, events
}

func published(tb testing.TB, events <-chan string) string {
	tb.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case e := <-events:
		return e
	case <-timeout.C:
		tb.Fatal("nothing was published")
		return ""
	}
}

// deliver sends a webhook.
func (f *face) deliver(tb testing.TB, name, body string, header ...string) *httptest.ResponseRecorder {
	tb.Helper()
	return f.do(tb, http.MethodPost, "/v1/inbound/"+name, body, header...)
}

func hexHMAC(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// The vectors that the providers' own documentation has, where it has any.
var vectors = map[string]struct { //nolint:gochecknoglobals // a constant table
	secret, body string
	header       []string
	want         []string // in the publication
}{
	"github": {
		"It's a Secret to Everybody", "Hello, World!",
		[]string{"X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "X-GitHub-Delivery", "d-1", "X-GitHub-Event", "push"},
		[]string{`["Hello, World!"]`, `"event":"push"`, `"delivery":"d-1"`, `"x-github-event":"push"`},
	},
	"slack": {
		"8f742231b10e8888abcd99yyyzzz85a5",
		"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
		[]string{"X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", "X-Slack-Request-Timestamp", "1531420618"},
		[]string{`["token=xyzz0WbapA4vBCDEFasx0q6G`, `"provider":"slack"`},
	},
	"standard": {
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`,
		[]string{"Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp", "1614265330", "Webhook-Signature", "v1,bm90IHRoaXM= v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		[]string{`[{"test": 2432232314}]`, `"delivery":"msg_p5jXN8AQM9LWM0D4loKWxJek"`},
	},
	"stripe": {
		"whsec_stripe", `{"id":"evt_1","type":"charge.succeeded"}`,
		[]string{"Stripe-Signature", "t=1614265330,v1=00ff,v1=" + hexHMAC("whsec_stripe", `1614265330.{"id":"evt_1","type":"charge.succeeded"}`) + ",v0=x"},
		[]string{`[{"id":"evt_1","type":"charge.succeeded"}]`, `"event":"charge.succeeded"`, `"delivery":"evt_1"`},
	},
	"gitlab": {
		"a token", `{"object_kind":"push"}`,
		[]string{"X-Gitlab-Token", "a token", "X-Gitlab-Event", "Push Hook", "Idempotency-Key", "k-1", "Cookie", "secret"},
		[]string{`[{"object_kind":"push"}]`, `"event":"Push Hook"`, `"delivery":"k-1"`},
	},
}

func TestEveryProvidersWebhookIsPublishedOnceAndByEitherSecret(t *testing.T) {
	for name, v := range vectors {
		f, events := hooked(t, ever, "a new secret", v.secret)
		if rec := f.deliver(t, name, v.body, v.header...); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), `{"publication":`) {
			t.Errorf("%s: got %d %s", name, rec.Code, rec.Body)
		}
		got := published(t, events)
		for _, want := range append(v.want, `"webhook":"`+name+`"`, "com.hook."+name) {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s is not in %s", name, want, got)
			}
		}
		if strings.Contains(got, "ecret") && name != "slack" && name != "github" {
			t.Errorf("%s: a secret is in %s", name, got)
		}
		if rec := f.deliver(t, name, v.body, v.header...); rec.Code != 200 || !strings.Contains(rec.Body.String(), `"duplicate":true`) {
			t.Errorf("%s again: got %d %s", name, rec.Code, rec.Body)
		}
		if len(events) > 0 {
			t.Errorf("%s: it was published again: %s", name, <-events)
		}
		if got := f.handler.Stats().Inbound[name]; got.Published != 1 || got.Duplicates != 1 || got.Refused != 0 {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestWebhookThatIsNotTheProvidersIsRefusedAndNotPublished(t *testing.T) {
	for name, v := range vectors {
		f, events := hooked(t, ever, "another secret")
		if rec := f.deliver(t, name, v.body, v.header...); rec.Code != 401 || strings.Contains(rec.Body.String(), "another") {
			t.Errorf("%s with the wrong secret: got %d %s", name, rec.Code, rec.Body)
		}
		if len(events) > 0 {
			t.Errorf("%s was published: %s", name, <-events)
		}
		f, events = hooked(t, ever, v.secret)
		if name != "gitlab" {
			if rec := f.deliver(t, name, v.body+" ", v.header...); rec.Code != 401 {
				t.Errorf("%s with another body: got %d %s", name, rec.Code, rec.Body)
			}
		}
		for i := 0; i < len(v.header); i += 2 {
			if n := v.header[i]; !strings.Contains(n, "Signature") && !strings.Contains(n, "Token") {
				continue
			}
			for _, wrong := range []string{"", "=", "v1,", "v0=", "sha256=", "t=,v1=", "t=1,v1=", "t=1614265330,v1=zz", v.header[i] + "x"} {
				header := append([]string{}, v.header...)
				header[i+1] = wrong
				if rec := f.deliver(t, name, v.body, header...); rec.Code != 401 {
					t.Errorf("%s with %s %q: got %d %s", name, v.header[i], wrong, rec.Code, rec.Body)
				}
			}
		}
		if rec := f.deliver(t, name, v.body); rec.Code != 401 {
			t.Errorf("%s unsigned: got %d %s", name, rec.Code, rec.Body)
		}
		if len(events) > 0 {
			t.Errorf("%s was published: %s", name, <-events)
		}
		if rec := f.deliver(t, "nothing", v.body); rec.Code != 404 {
			t.Errorf("got %d", rec.Code)
		}
	}
}

func TestWebhookThatWasSignedLongAgoIsRefused(t *testing.T) {
	for _, name := range []string{"slack", "standard", "stripe"} {
		f, events := hooked(t, 0, vectors[name].secret)
		if rec := f.deliver(t, name, vectors[name].body, vectors[name].header...); rec.Code != 401 || !strings.Contains(rec.Body.String(), "too far from now") {
			t.Errorf("%s: got %d %s", name, rec.Code, rec.Body)
		}
		if len(events) > 0 {
			t.Error("it was published")
		}
	}
	f, events := hooked(t, 0, "s")
	now := strconv.FormatInt(time.Now().Unix(), 10)
	h := hmac.New(sha256.New, []byte("s"))
	_, _ = fmt.Fprintf(h, "m.%s.{}", now)
	rec := f.deliver(t, "standard", "{}", "Webhook-Id", "m", "Webhook-Timestamp", now, "Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	if rec.Code != 200 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	published(t, events)
}

func TestSlackIsToldThatOneIsThere(t *testing.T) {
	f, events := hooked(t, ever, "s")
	body := `{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}`
	rec := f.deliver(t, "slack", body, "X-Slack-Request-Timestamp", "1531420618", "X-Slack-Signature", "v0="+hexHMAC("s", "v0:1531420618:"+body))
	if rec.Code != 200 || rec.Body.String() != "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := f.deliver(t, "slack", body); rec.Code != 401 {
		t.Errorf("unsigned: got %d", rec.Code)
	}
	if len(events) > 0 {
		t.Error("it was published")
	}
}

func TestWebhookWhosePublicationFailsMayBeSentAgain(t *testing.T) {
	f := newFace(t, func(cfg *httpapi.Config) {
		cfg.Inbound = map[string]httpapi.Inbound{"x": {Provider: "gitlab", Secrets: []string{"s"}, Topic: "wamp.reserved", Principal: bridge.Principal{Realm: "realm1"}}}
	})
	for range 2 {
		if rec := f.deliver(t, "x", "{}", "X-Gitlab-Token", "s", "Idempotency-Key", "1"); rec.Code != 400 {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	}
}

func FuzzInboundSignature(f *testing.F) {
	for name, v := range vectors {
		f.Add(name, v.body, v.header[1], v.header[len(v.header)-1])
	}
	face, events := hooked(f, ever, "nobody knows this")
	f.Fuzz(func(t *testing.T, name, body, one, two string) {
		if vectors[name].secret == "" {
			return
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/inbound/"+name, strings.NewReader(body))
		req.Host = "localhost"
		for _, h := range []string{"X-Hub-Signature-256", "X-Slack-Signature", "Stripe-Signature", "Webhook-Signature", "X-Gitlab-Token"} {
			req.Header.Set(h, one)
		}
		for _, h := range []string{"X-Slack-Request-Timestamp", "Webhook-Timestamp", "Webhook-Id", "Idempotency-Key"} {
			req.Header.Set(h, two)
		}
		rec := httptest.NewRecorder()
		face.handler.ServeHTTP(rec, req)
		if rec.Code != 401 && rec.Code != 413 && rec.Code != 431 || len(events) > 0 {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	})
}
