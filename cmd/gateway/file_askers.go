package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

// askerSection is who is asked about logins, or about what is allowed: a WAMP procedure, or an HTTP endpoint.
type askerSection struct {
	Procedure wampcore.URI      `json:"procedure"`
	Realm     wampcore.URI      `json:"realm"` // of the procedure; default: the one that the question comes from
	URL       string            `json:"url"`
	Headers   map[string]secret `json:"headers"`
	Timeout   *duration         `json:"timeout"`

	asker router.Asker // made by check; nil: nobody is asked
}

// askTimeout is how long the answer may take where nothing else is said, maxAskTimeout what may be said.
const (
	askTimeout    = 5 * time.Second
	maxAskTimeout = time.Minute
)

func (a *askerSection) timeout() time.Duration {
	if a.Timeout != nil && *a.Timeout > 0 {
		return time.Duration(*a.Timeout)
	}
	return askTimeout
}

func (a *askerSection) check(at place) {
	switch {
	case a.Procedure != "" && a.URL != "":
		at.in("url").badKey("there is a procedure, too; want one of the two")
	case a.Procedure != "":
		if !a.Procedure.Valid(false) || a.Procedure.Reserved() {
			at.in("procedure").bad("%q is no URI of a procedure", string(a.Procedure))
		}
		a.asker = router.Procedure{URI: a.Procedure, Realm: a.Realm}
	case a.URL != "":
		a.checkEndpoint(at)
	}
	if a.Timeout != nil && time.Duration(*a.Timeout) > maxAskTimeout {
		at.in("timeout").bad("want at most %s", maxAskTimeout)
	}
	if a.URL == "" && len(a.Headers) > 0 {
		at.in("headers").badKey("they are for a url")
	}
	if a.Procedure == "" && a.Realm != "" {
		at.in("realm").badKey("it is for a procedure")
	}
}

func (a *askerSection) checkEndpoint(at place) {
	header := http.Header{}
	for name, value := range a.Headers {
		value.resolve(at.in("headers", name))
		header.Set(name, value.text)
	}
	egress, err := egressTo(a.URL)
	if err != nil {
		at.in("url").bad("%v", err)
		return
	}
	a.asker = router.Endpoint{URL: a.URL, Header: header, Client: egress}
}

// egressTo returns what reaches the host of a URL, which the operator has named, and no other. It follows no redirects, and never
// reaches the metadata of clouds.
func egressTo(raw string) (*bridge.Egress, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, errors.New("want a URL such as https://auth.example.com/login")
	}
	var hosts []string
	if u.Hostname() != "localhost" {
		hosts = append(hosts, u.Host)
	}
	egress, err := bridge.NewEgress(bridge.EgressConfig{Hosts: hosts, Loopback: true})
	if err != nil {
		return nil, err
	}
	_, err = egress.Check(raw)
	return egress, err
}

// checkDeciders reports the procedures of the file that decide about others and that anonymous sessions may register: whoever came
// first would decide.
func (f *file) checkDeciders(at place) {
	for name, realm := range f.Realms {
		at := at.in("realms", name)
		for method, m := range realm.Authentication {
			f.checkDecider(name, &m.askerSection, at.in("authentication", method))
		}
		for role, r := range realm.Roles {
			f.checkDecider(name, r.Authorizer, at.in("roles", role, "authorizer"))
		}
	}
}

func (f *file) checkDecider(realm wampcore.URI, a *askerSection, at place) {
	if a == nil || a.Procedure == "" {
		return
	}
	of := f.Realms[cmp.Or(a.Realm, realm)]
	if of == nil || !of.open() {
		return
	}
	role := of.Authentication.anonymousRole()
	if of.Roles == nil || of.Roles[role] != nil && of.Roles[role].role().Allows(router.ActionRegister, a.Procedure) {
		at.in("procedure").bad("anonymous sessions may register it, and would decide; take the permission from the role %q of the realm %s, or have the procedure in a realm that lets in nobody without a name",
			role, cmp.Or(a.Realm, realm))
	}
}

// boxed is an Asker that gets so much time and no more.
type boxed struct {
	router.Asker

	timeout time.Duration
}

// Ask asks.
func (b boxed) Ask(ctx context.Context, via router.Via, args []any) (wampcore.Raw, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.Asker.Ask(ctx, via, args)
}

// authorizer returns what decides about what a role's permissions leave open, nil where nobody does.
func (a *askerSection) authorizer() router.Authorizer {
	if a == nil || a.asker == nil {
		return nil
	}
	return router.DynamicAuthorizer{Asker: boxed{a.asker, a.timeout()}}
}

// VerifyTicket has the issuer of a token decide whom it lets in.
func (is issuers) VerifyTicket(ctx context.Context, l *router.Login, ticket string) (router.Identity, error) {
	i := slices.IndexFunc(is, func(j *httpapi.JWT) bool { return j.Knows(ticket) })
	if i < 0 {
		return router.Identity{}, errNoToken
	}
	grant, err := is[i].Verify(ctx, ticket)
	if wrong, ok := errors.AsType[*httpapi.CredentialsError](err); ok {
		return router.Identity{}, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: wrong.Detail}
	}
	if err != nil {
		return router.Identity{}, err
	}
	p, ok := grant.In(l.Realm, "")
	if !ok {
		return router.Identity{}, errNoToken
	}
	return router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method, Provider: p.Provider, Expires: grant.Expires}, nil
}

// Holds reports whether the issuer is still believed.
func (is issuers) Holds(_ context.Context, who router.SessionDetails) (bool, error) { //nolint:unparam // router.Holder has it so
	return slices.ContainsFunc(is, func(j *httpapi.JWT) bool { return j.Provider() == who.Provider }), nil
}

var errNoToken = &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "the token is not one that lets in to this realm"}
