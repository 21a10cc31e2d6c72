package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// believing is a gateway that takes the tokens of an issuer, by HTTP and as tickets. A token names its realms.
func believing(tb testing.TB, i *issuer) (base string) {
	tb.Helper()
	_, base = gateway(tb, "WAMPGATE_CONFIG="+configured(tb, `
http:
  jwt: [{issuer: "`+i.URL+`", audiences: [wampgate], algorithms: [EdDSA], jwks_url: "`+i.URL+`/keys", role_claim: role, realm_claim: realms, leeway: 1s, realms: [realm1]}]
realms:
  realm1:
    authentication: {ticket: {jwt: true}, anonymous: {role: service}}
    roles:
      user: {permissions: [{uri: com.open., match: prefix, allow: [call]}]}
      service: {permissions: [{uri: com.open., match: prefix, allow: [register]}]}
  realm2:
    authentication: {ticket: }
`))
	return base
}

func TestTokensAreTicketsOfRealClients(t *testing.T) {
	i := newIssuer(t)
	base := believing(t, i)
	stranger := newIssuer(t)
	good := i.token("ann", "user", time.Hour)
	refused := map[string]string{
		"expired":          i.token("ann", "user", -time.Minute),
		"another audience": i.token("ann", "user", time.Hour, "aud", "elsewhere"),
		"another realm":    i.token("ann", "user", time.Hour, "realms", []string{"realm2"}),
		"another issuer":   stranger.token("ann", "user", time.Hour),
		"forged":           stranger.token("ann", "user", time.Hour, "iss", i.URL),
		"changed":          good[:strings.LastIndex(good, ".")+1] + strings.Repeat("A", 86),
		"no role":          i.token("ann", "", time.Hour),
		"no token":         "ann",
	}
	for name, run := range loginClients() {
		t.Run(name, func(t *testing.T) {
			for _, token := range []string{good, i.token("ann", "user", time.Hour, "realms", []string{"realm2", "realm1"})} {
				if line := run(t, webSocket(base), "json", "ticket", "ann", token).expect("in "); line != "in ann user jwt" {
					t.Error(line)
				}
			}
			for why, token := range refused {
				if line := run(t, webSocket(base), "json", "ticket", "ann", token).expect("out"); !strings.Contains(line, "authentication_denied") {
					t.Errorf("%s: %s", why, line)
				}
			}
		})
	}
	for _, c := range []struct{ realm, token string }{{"realm2", good}, {"realm2", refused["another realm"]}} { // which takes no tokens
		_, err := as(t.Context(), base, client.Config{Realm: wampcore.URI(c.realm), AuthID: "ann", Auth: []auth.Method{auth.Ticket(c.token)}})
		if !is(err, wampcore.ErrAuthenticationDenied) {
			t.Errorf("%s: got %v", c.realm, err)
		}
	}
}

func TestSessionsEndWhenTheTokenThatWasTheirTicketExpires(t *testing.T) {
	i := newIssuer(t)
	base := believing(t, i)
	for name, url := range map[string]string{
		"WebSocket": webSocket(base), "RawSocket": "tcp" + strings.TrimPrefix(base, "http"),
	} {
		t.Run(name, func(t *testing.T) {
			for life := 2 * time.Second; ; life *= 2 { // a busy machine may need longer to log in
				began := time.Now()
				token := i.token("ann", "user", life)
				tr, err := transport.Dial(t.Context(), url, transport.Config{})
				if err != nil {
					t.Fatal(err)
				}
				s, err := client.Join(t.Context(), tr, client.Config{Realm: "realm1", AuthID: "ann", Auth: []auth.Method{auth.Ticket(token)}})
				if is(err, wampcore.ErrAuthenticationDenied) && time.Since(began) > life-time.Second {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				select {
				case <-s.Done():
				case <-time.After(life + patience): //nolint:forbidigo // the bound of a test
					t.Fatal("the session goes on")
				}
				if !is(s.Err(), wampcore.ErrAuthenticationRequired) || !strings.Contains(s.Err().Error(), "expired") {
					t.Errorf("it ended with %v", s.Err())
				}
				return
			}
		})
	}
}

func TestSessionThatPollsEndsWithItsToken(t *testing.T) {
	i := newIssuer(t)
	base := believing(t, i)
	for life := 2 * time.Second; ; life *= 2 {
		p := openPoll(t, base, wampcore.JSON, false)
		p.send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{Roles: allFeatures(), AuthMethods: []string{"ticket"}, AuthID: "ann"}})
		polled[*wampcore.Challenge](p)
		p.send(&wampcore.Authenticate{Signature: i.token("ann", "user", life)})
		if abort, ok := p.next().(*wampcore.Abort); ok && life < patience {
			t.Logf("after %s: %s", life, abort.Reason)
			continue
		}
		if g := polled[*wampcore.Goodbye](p); g.Reason != wampcore.ErrAuthenticationRequired || !strings.Contains(g.Details.Message, "expired") {
			t.Errorf("got %+v", g)
		}
		return
	}
}

func TestStreamOfACallEndsWithItsToken(t *testing.T) {
	i := newIssuer(t)
	base := believing(t, i)
	interrupted := make(chan struct{}, 10)
	_, err := mustBe(t, base, client.Config{}).Register(t.Context(), "com.open.slow", func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		if err := inv.Progress(ctx, wampcore.Payload{}); err != nil {
			return wampcore.Payload{}, err
		}
		<-ctx.Done()
		interrupted <- struct{}{}
		return wampcore.Payload{}, ctx.Err()
	}, wampcore.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{"text/event-stream": "event: wamp.bye", "application/jsonl": `"bye":{"reason":"the credentials of the stream have expired"}`} {
		for life := 2 * time.Second; ; life *= 2 {
			p := start(t, nil, need(t, "curl"), append(bearer(i.token("ann", "user", life)), "-sNi", "-X", "POST", "-H", "Accept: "+format, base+"/v1/call/com.open.slow")...)
			if status := p.expect("HTTP/1.1 "); !strings.Contains(status, http.StatusText(http.StatusOK)) && life < patience {
				continue
			}
			p.expect("progress")
			p.expect(want)
			if status := p.exit(); status != 0 {
				t.Errorf("%s: curl ends with %d", format, status)
			}
			break
		}
		select {
		case <-interrupted:
		case <-time.After(patience): //nolint:forbidigo // the bound of a test
			t.Errorf("%s: the callee was not interrupted", format)
		}
	}
}
