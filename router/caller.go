package router

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// callers are the router's own sessions, one in each realm where it calls procedures. They may call everything, at any rate, and do not
// keep a realm on demand from being idle.
type callers struct {
	mu       sync.Mutex
	sessions map[wampcore.URI]*client.Session
}

// own is who the router is in its realms.
const own = "trusted"

var ownRules = newRules(own, Role{ //nolint:gochecknoglobals // a constant
	Permissions: everything.Permissions, Limits: Limits{Rate: -1}, Principal: Limits{Rate: -1},
}, &RealmConfig{})

// Via calls procedures for the router.
type Via struct {
	Realm  wampcore.URI // the one that the question comes from
	router *Router
}

// Call calls a procedure in a realm, and returns the first value of its result.
func (v Via) Call(ctx context.Context, realm, procedure wampcore.URI, args []any) (wampcore.Raw, error) {
	in, err := wampcore.NewPayload(wampcore.MessagePack, args, nil)
	if err != nil {
		return wampcore.Raw{}, err
	}
	s, err := v.router.callers.in(ctx, v.router, realm)
	if err != nil {
		return wampcore.Raw{}, fmt.Errorf("call %s in %s: %w", procedure, realm, err)
	}
	out, err := s.Call(ctx, procedure, in, wampcore.CallOptions{})
	if err != nil {
		return wampcore.Raw{}, fmt.Errorf("call %s in %s: %w", procedure, realm, err)
	}
	return out.First(), nil
}

// in returns the session in a realm.
func (c *callers) in(ctx context.Context, r *Router, realm wampcore.URI) (*client.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[realm]; s != nil {
		select {
		case <-s.Done():
			delete(c.sessions, realm)
		default:
			return s, nil
		}
	}
	c.sweep()
	s, err := client.Join(ctx, r.dial(&Identity{AuthID: own, AuthRole: own, Provider: "router", own: true}), client.Config{Realm: realm})
	if err != nil {
		return nil, err
	}
	if c.sessions == nil {
		c.sessions = map[wampcore.URI]*client.Session{}
	}
	c.sessions[realm] = s
	return s, nil
}

// sweep forgets sessions that are over, such as those in realms that are gone. mu is held.
func (c *callers) sweep() {
	for realm, s := range c.sessions {
		select {
		case <-s.Done():
			delete(c.sessions, realm)
		default:
		}
	}
}

// wait waits for the sessions, whose transports are closed.
func (c *callers) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		<-s.Done()
	}
}

// Asker answers the router's questions about logins and permissions: a procedure, an HTTP endpoint, whatever a program has. args are those
// that a procedure would be called with.
type Asker interface {
	Ask(ctx context.Context, via Via, args []any) (wampcore.Raw, error)
}

// Procedure is an Asker: a WAMP procedure, called by a session of the router's own whose authrole is trusted.
type Procedure struct {
	URI   wampcore.URI
	Realm wampcore.URI // default: the one that the question comes from
}

// Ask calls the procedure.
func (p Procedure) Ask(ctx context.Context, via Via, args []any) (wampcore.Raw, error) {
	realm := p.Realm
	if realm == "" {
		realm = via.Realm
	}
	return via.Call(ctx, realm, p.URI, args)
}

var errGarbage = errors.New("the answer is not what it has to be")
