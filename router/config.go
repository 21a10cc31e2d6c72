package router

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// Config says what a router serves. Only Realms is required.
type Config struct {
	Realms          []RealmConfig
	Agent           string         // sent in WELCOME; default "wampgate"
	Log             zerolog.Logger // the zero value is silent
	HelloTimeout    time.Duration  // for a HELLO on a new transport; default 10 s
	IdleTimeout     time.Duration  // for a new HELLO after a session on the same transport; default 60 s
	FarewellTimeout time.Duration  // for what is queued, and the last word, when a session ends; default 2 s
	// AuthorizeTimeout is the time for an Authorizer to answer; default 5 s.
	AuthorizeTimeout time.Duration
	QueueMessages    int // outbound, of one connection; default 8192
	QueueBytes       int // outbound, of one connection; default 64 MiB. One message always fits an empty queue
}

// RealmConfig is one realm.
type RealmConfig struct {
	Name wampcore.URI // or a pattern, with OnDemand
	// OnDemand has realms made when they are asked for. Default: there is one, always.
	OnDemand *OnDemand
	// Strict ends a session whose request ids have gaps or repeat, and asks callees for progressive results only if they
	// can be interrupted: both are the letter of the RFC, and more than real clients keep.
	Strict bool

	History     HistoryConfig
	Disclosure  Disclosure
	TrustLevels map[string]int64 // by authrole, of its calls and publications; others have none
	// Roles are those that sessions may have, by authrole: who is authenticated for another one gets wamp.error.no_such_role.
	// Default: every authrole may do everything, but for taking something from other sessions (wamp.session.kill and its like,
	// wamp.registration.remove_callee, wamp.subscription.remove_subscriber). For those a permission has to name what begins with wamp.
	Roles map[string]Role
	// Operators are the authroles that may take things from others beside what Roles says.
	Operators []string
	// Authenticators are the methods of authentication that the realm offers, by the names that HELLO has for them. Default:
	// anonymous alone, for everybody.
	Authenticators map[string]Authenticator
}

// Disclosure is whether callees and subscribers learn who calls and publishes.
type Disclosure uint8

// Disclosure is asked for by either side, always there, or refused.
const (
	DiscloseAsked Disclosure = iota
	DiscloseAlways
	DiscloseNever
)

func (c Config) withDefaults() Config {
	if c.Agent == "" {
		c.Agent = "wampgate"
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.HelloTimeout, 10 * time.Second}, {&c.IdleTimeout, time.Minute}, {&c.FarewellTimeout, 2 * time.Second}, {&c.AuthorizeTimeout, 5 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if c.QueueMessages <= 0 {
		c.QueueMessages = 8192
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 64 << 20
	}
	return c
}

func (c Config) validate() error {
	if len(c.Realms) == 0 {
		return errors.New("router: no realm is configured")
	}
	seen := map[wampcore.URI]bool{}
	for _, realm := range c.Realms {
		switch {
		case realm.OnDemand != nil:
			if err := realm.OnDemand.validate(realm.Name); err != nil {
				return fmt.Errorf("router: %w", err)
			}
		case !realm.Name.Valid(false):
			return fmt.Errorf("router: %q is no URI, so it cannot name a realm", realm.Name)
		}
		if seen[realm.Name] {
			return fmt.Errorf("router: realm %s is configured twice", realm.Name)
		}
		seen[realm.Name] = true
		if err := validateRoles(&realm); err != nil {
			return fmt.Errorf("router: realm %s: %w", realm.Name, err)
		}
	}
	return nil
}
