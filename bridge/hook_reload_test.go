package bridge_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/router" //nolint:depguard // a real router at the other end
	"github.com/wampgate/wampgate/wampcore"
)

// A reload comes while a hook is being made: at the moment when it dials.
func meanwhile(reload func()) func(*bridge.HooksConfig) {
	var once sync.Once
	return func(c *bridge.HooksConfig) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, p bridge.Principal) (wampcore.Transport, error) {
			once.Do(reload)
			return dial(ctx, p)
		}
		c.PerPrincipal = 1
	}
}

func TestHookIsNotKeptWhoseMakerIsGoneBeforeItIsMade(t *testing.T) {
	var h *hooked
	nobody := func(bridge.Principal) bool { return false }
	h = newHooked(t, text(http.StatusNoContent, "", ""), meanwhile(func() { h.hooks.Retain(nobody) }))
	spec := bridge.HookSpec{Procedure: "com.p", URL: h.url}
	for range 2 { // it counts for nothing
		if _, err := h.hooks.Put(t.Context(), anybody, "h", spec); !errors.Is(err, bridge.ErrHookOrphan) {
			t.Errorf("got %v", err)
		}
		if _, err := h.hooks.Status(anybody, "h"); !errors.Is(err, bridge.ErrNoHook) {
			t.Errorf("got %v", err)
		}
		if got := ask(t.Context(), h.join(t), wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, "wamp.error.no_such_procedure") {
			t.Errorf("got %s", got)
		}
	}
	h.hooks.Retain(func(bridge.Principal) bool { return true })
	h.put(spec)
}

func TestProcedureOfAHookThatWasBeingMadeIsTakenBackWithTheOthers(t *testing.T) {
	var h *hooked
	h = newHooked(t, text(http.StatusNoContent, "", ""), meanwhile(func() { h.hooks.Withdraw() }))
	h.put(bridge.HookSpec{Procedure: "com.p"})
	if got := ask(t.Context(), h.join(t), wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, "wamp.error.no_such_procedure") {
		t.Errorf("got %s", got)
	}
}

func TestOwnHookStaysItsMakersWhenTheConfigurationGetsOneOfItsName(t *testing.T) {
	h := newHooked(t, text(http.StatusNoContent, "", ""))
	own := bridge.HookSpec{Procedure: "com.own", URL: h.url}
	h.put(own)
	if err := h.hooks.Reconfigure([]bridge.ConfiguredHook{{Principal: anybody, Name: "h", Spec: bridge.HookSpec{Procedure: "com.p", URL: h.url}}}); err != nil {
		t.Fatal(err)
	}
	h.put(own)
	if err := h.hooks.Delete(t.Context(), anybody, "h"); err != nil {
		t.Errorf("it cannot be deleted: %v", err)
	}
	if s := h.status(); s.Procedure != "com.p" {
		t.Errorf("got %+v", s)
	}
	if err := h.hooks.Delete(t.Context(), anybody, "h"); !errors.Is(err, bridge.ErrHookConfigured) {
		t.Errorf("got %v", err)
	}
	if _, err := h.hooks.Put(t.Context(), anybody, "h", own); !errors.Is(err, bridge.ErrHookConfigured) {
		t.Errorf("got %v", err)
	}
}

func TestHookOfTheConfigurationComesBackWithThePermissionThatItHadLost(t *testing.T) {
	h := newHooked(t, text(http.StatusNoContent, "", ""))
	hook := []bridge.ConfiguredHook{{Principal: anybody, Name: "h", Spec: bridge.HookSpec{Procedure: "com.p", URL: h.url}}}
	may := func(a router.Action) { // as a reload does it
		realm := router.RealmConfig{Name: realm1, Roles: map[string]router.Role{"anonymous": {Permissions: []router.Permission{
			{Match: wampcore.MatchPrefix, Allow: a},
		}}}}
		if err := h.router.Reconfigure([]router.RealmConfig{realm}); err != nil {
			t.Fatal(err)
		}
		if err := h.hooks.Reconfigure(hook); err != nil {
			t.Fatal(err)
		}
	}
	may(router.AllActions)
	h.await("ready", func(s bridge.HookStatus) bool { return s.State == bridge.HookReady })
	may(router.ActionCall)
	h.await("away", func(s bridge.HookStatus) bool { return s.State == bridge.HookRefused || s.State == bridge.HookDisabled })
	may(router.AllActions)
	h.await("ready", func(s bridge.HookStatus) bool { return s.State == bridge.HookReady })
	if got := ask(t.Context(), h.join(t), wampcore.Payload{}, wampcore.CallOptions{}); got != "{}" {
		t.Errorf("got %s", got)
	}
	for range 20 { // before the hook knows that it has lost it
		may(router.ActionCall)
		may(router.AllActions)
	}
	asker := h.join(t)
	for got, deadline := "", time.Now().Add(30*time.Second); got != "{}"; got = ask(t.Context(), asker, wampcore.Payload{}, wampcore.CallOptions{}) {
		if time.Now().After(deadline) {
			t.Fatalf("got %s, and it is %+v", got, h.status())
		}
	}
}
