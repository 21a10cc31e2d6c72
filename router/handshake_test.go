package router_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// What a transport has received is not kept while it waits for more, as it does between CHALLENGE and AUTHENTICATE: others use the memory.
func TestSessionIsInTheRealmThatItsHelloNamedWhateverOthersSayMeanwhile(t *testing.T) {
	tickets := map[string]router.Authenticator{"ticket": router.Ticket{Principals: people{"joe": {AuthRole: "backend", Ticket: "the-right-one"}}}}
	nobody := map[string]router.Authenticator{"ticket": router.Ticket{Principals: people{}}}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: realm1, Authenticators: tickets}, {Name: "com.other", Authenticators: nobody}}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r.WebSocket(transport.Config{}))
	t.Cleanup(func() {
		srv.Close()
		_ = r.Shutdown(context.Background())
	})
	hello := func(realm wampcore.URI) *wamptest.Peer {
		c, err := transport.Dial(t.Context(), srv.URL, transport.Config{})
		if err != nil {
			t.Fatal(err)
		}
		p := wamptest.New(t, c)
		p.Send(&wampcore.Hello{Realm: realm, Details: wampcore.HelloDetails{
			Roles: wampcore.NewRoles(wampcore.RoleCaller), AuthMethods: []string{"ticket"}, AuthID: "joe",
		}})
		wamptest.Expect[*wampcore.Challenge](p)
		return p
	}
	for range 20 {
		joe, other := hello(realm1), hello("com.other")
		joe.Send(&wampcore.Authenticate{Signature: "the-right-one"})
		if m := wamptest.Expect[*wampcore.Welcome](joe); m.Details.Realm != string(realm1) {
			t.Errorf("joe is in %q", m.Details.Realm)
		}
		joe.Close()
		other.Close()
	}
}
