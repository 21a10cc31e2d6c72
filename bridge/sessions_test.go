package bridge_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/router" //nolint:depguard // a real router at the other end
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// office is a router and a bridge for principals with names.
type office struct {
	*testing.T
	b      *bridge.Bridge
	native *client.Session
}

func newOffice(t *testing.T, cfg bridge.Config) *office {
	t.Helper()
	nobody := router.Authenticator(refuser{})
	r, err := router.New(router.Config{Realms: []router.RealmConfig{
		{Name: realm1},
		{Name: "closed", Authenticators: map[string]router.Authenticator{"anonymous": nobody}},
		{Name: "named", Authenticators: map[string]router.Authenticator{"ticket": nobody}},
		{Name: "small", Roles: map[string]router.Role{"user": {
			Permissions: []router.Permission{{Match: wampcore.MatchPrefix, Allow: router.AllActions}}, Limits: router.Limits{Sessions: 1},
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dial = func(_ context.Context, p bridge.Principal) (wampcore.Transport, error) {
		if p.AuthRole == "" {
			return r.Dial(), nil
		}
		return r.DialAs(router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method}), nil
	}
	o := &office{t, bridge.New(cfg), nil}
	if o.native, err = client.Join(t.Context(), r.Dial(), client.Config{Realm: realm1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(o.b.Close(ctx), o.native.Close(ctx), r.Shutdown(ctx)); err != nil {
			t.Error(err)
		}
	})
	return o
}

// refuser lets nobody in.
type refuser struct{}

func (refuser) Authenticate(context.Context, *router.Login) (router.Identity, error) {
	return router.Identity{}, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "no"}
}

func somebody(name string) bridge.Principal {
	return bridge.Principal{Realm: realm1, AuthID: name, AuthRole: "user", Method: "test"}
}

// act has somebody do something.
func (o *office) act(p bridge.Principal) error {
	_, err := o.b.Publish(o.Context(), p, "com.t", bridge.PublishRequest{Options: wampcore.PublishOptions{Acknowledge: true}})
	return err
}

// sessions returns how many there are beside the native one.
func (o *office) sessions() int {
	o.Helper()
	n, err := client.Call[int](o.Context(), o.native, "wamp.session.count")
	if err != nil {
		o.Fatal(err)
	}
	return n - 1
}

func TestPrincipalHasOneSessionForAsLongAsItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, bridge.Config{SessionIdle: time.Minute})
		for range 10 {
			for _, name := range []string{"ann", "joe"} {
				if err := o.act(somebody(name)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(30 * time.Second) //nolint:forbidigo // of the bubble
		}
		if n := o.sessions(); n != 2 {
			t.Errorf("%d sessions for 2 principals", n)
		}
		if err := o.act(somebody("joe")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Second) //nolint:forbidigo // of the bubble
		synctest.Wait()
		if n := o.sessions(); n != 1 {
			t.Errorf("%d sessions, want joe's alone", n)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble
		synctest.Wait()
		if n := o.sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if err := o.act(somebody("ann")); err != nil {
			t.Errorf("after the end of the first session: %v", err)
		}
	})
}

func TestSessionWithAnOpenCallIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, bridge.Config{SessionIdle: time.Minute})
		_, err := o.native.Register(t.Context(), "slow", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
			slow, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-slow.Done()
			return wampcore.Payload{}, ctx.Err()
		}, wampcore.RegisterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.b.Call(t.Context(), somebody("ann"), "slow", bridge.CallRequest{}); err != nil {
			t.Error(err)
		}
	})
}

func TestSessionsAreBoundedAndTheOneThatWasNotUsedForTheLongestTimeMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, bridge.Config{MaxSessions: 2})
		release := make(chan struct{})
		_, err := o.native.Register(t.Context(), "slow", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
			<-release
			return wampcore.Payload{}, nil
		}, wampcore.RegisterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		called := make(chan error, 2)
		slow := func(name string) {
			go func() {
				_, err := o.b.Call(t.Context(), somebody(name), "slow", bridge.CallRequest{})
				called <- err
			}()
			synctest.Wait()
		}
		slow("ann")
		if err := o.act(somebody("joe")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble
		if err := o.act(somebody("sue")); err != nil {
			t.Errorf("joe's session does not make room: %v", err)
		}
		synctest.Wait()
		if n := o.sessions(); n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
		slow("sue")
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble
		if err := o.act(somebody("joe")); !errors.Is(err, bridge.ErrBusy) {
			t.Errorf("all are at work, but: %v", err)
		}
		close(release)
		for range 2 {
			if err := <-called; err != nil {
				t.Error(err)
			}
		}
		if err := o.act(somebody("joe")); err != nil {
			t.Errorf("when they are done: %v", err)
		}
	})
}

func TestPrincipalThatTheRouterRefusesIsToldAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, bridge.Config{MaxSessions: 1})
		for realm, want := range map[wampcore.URI]wampcore.URI{
			"closed": wampcore.ErrAuthenticationDenied, "named": wampcore.ErrNoMatchingAuthMethod, "nowhere": wampcore.ErrNoSuchRealm,
		} {
			err := o.act(bridge.Principal{Realm: realm})
			if refusal, ok := errors.AsType[*wampcore.Error](err); !ok || refusal.URI != want {
				t.Errorf("%s: got %v, want %s", realm, err, want)
			}
		}
		if err := o.act(somebody("ann")); err != nil {
			t.Error(err)
		}
	})
}

func TestPrincipalThatFindsNoRoomIsToldAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, bridge.Config{MaxSessions: 2})
		ann, joe := somebody("ann"), somebody("joe")
		ann.Realm, joe.Realm = "small", "small"
		if err := o.act(ann); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if err := o.act(joe); !errors.Is(err, &wampcore.Error{URI: wampcore.ErrLimitExceeded}) || time.Since(before) > 0 {
			t.Errorf("got %v after %v", err, time.Since(before))
		}
		if err := o.act(somebody("sue")); err != nil {
			t.Errorf("joe keeps a place: %v", err)
		}
	})
}
