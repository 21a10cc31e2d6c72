package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// Auth says how it is found out who a request is from. The zero value lets everybody in as anonymous.
type Auth struct {
	Methods     []Method                   // asked in this order: the first that knows the request's credentials decides
	NoAnonymous func(r *http.Request) bool // whether it is refused if it has no credentials; default: never
}

// Method is a way to find out who a request is from. It is used by any number of goroutines.
type Method interface {
	// Authenticate returns whom the request's credentials speak for, nil if it has none of this kind. A *CredentialsError says
	// that they are wrong; any other error that this cannot be told now.
	Authenticate(r *http.Request) (*Grant, error)
	// Scheme is what WWW-Authenticate names it by, empty where that has no name for it.
	Scheme() string
}

// Recognizer is a Method that can tell, without credentials, whether it lets somebody in as a principal; byDefault is the realm of grants
// that name none.
type Recognizer interface {
	Recognizes(p bridge.Principal, byDefault wampcore.URI) bool
}

// Grant is what credentials are good for.
type Grant struct {
	AuthID   string
	AuthRole string
	Method   string // how that was found out
	Provider string // by whom; empty: the configuration

	Realms  []wampcore.URI // that may be used: none is the one of Config, EveryRealm all
	Expires time.Time      // zero: never
}

// EveryRealm as a realm of a Grant stands for all that there are.
const EveryRealm wampcore.URI = "*"

// In returns the principal that a grant makes in a realm; byDefault is the realm of a grant that names none.
func (g *Grant) In(realm, byDefault wampcore.URI) (bridge.Principal, bool) {
	ok := slices.Contains(g.Realms, realm) || slices.Contains(g.Realms, EveryRealm) || len(g.Realms) == 0 && realm == byDefault
	return bridge.Principal{Realm: realm, AuthID: g.AuthID, AuthRole: g.AuthRole, Method: g.Method, Provider: g.Provider}, ok
}

// is reports whether a grant makes this principal.
func (g *Grant) is(p bridge.Principal, byDefault wampcore.URI) bool {
	made, ok := g.In(p.Realm, byDefault)
	return ok && made == p && (g.Expires.IsZero() || time.Now().Before(g.Expires))
}

// CredentialsError says what is wrong with credentials. Its text goes to the client: it names no secret.
type CredentialsError struct{ Detail string }

// Error returns the text.
func (e *CredentialsError) Error() string { return e.Detail }

// farewell is why the gateway itself ends a stream: the cause of its context's end, and what wamp.bye says.
type farewell string

// Error returns the reason.
func (f farewell) Error() string { return string(f) }

// data is what wamp.bye has.
func (f farewell) data() []byte { return []byte(`{"reason":"` + string(f) + `"}`) }

// problem is the answer where the stream has not begun.
func (f farewell) problem() *problem {
	p := newProblem(http.StatusUnauthorized, string(f))
	p.header = http.Header{"Www-Authenticate": {schemeBearer + ` realm="wampgate", error="invalid_token"`}}
	return p
}

// Why streams end that had nothing wrong with them.
const (
	errExpired farewell = "the credentials of the stream have expired"
	errRevoked farewell = "the credentials of the stream were taken back"
)

// requester is who a request is from, in the realm that its path names.
type requester struct {
	bridge.Principal

	expires time.Time     // zero: never
	source  *http.Request // whose credentials they are
	judged  *Auth         // by which they were
	limit   Limit
	account *account

	stream  *bridge.Stream // that goes on when the handler has returned; nil: none does
	sink    *writerSink    // where it goes, if net/http has to stay with it
	begun   chan<- error   // told when it has, or why it does not; nil: it has
	release func()         // gives back what the request counts for
	expiry  *time.Timer    // ends what is open; nil: nothing is, or it does not expire
}

// requesterOf returns who the request is from. Every route under /v1 has one.
func requesterOf(r *http.Request) *requester {
	if f := factsOf(r.Context()); f != nil && f.who != nil {
		return f.who
	}
	return &requester{} // in no realm
}

// principal returns who a request is from, in the realm that its path names.
func (a *api) principal(r *http.Request) bridge.Principal { return requesterOf(r).Principal }

// identified finds out who a request is from before its handler runs. A stream ends when the credentials do: the cause of its
// context's end is a farewell then.
func (a *api) identified(next http.Handler) http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		kind := kindOf(r)
		who, err := a.identify(r, kind)
		if err != nil {
			return err
		}
		release, err := a.admit(who, r, kind)
		if err != nil {
			return err
		}
		if f := factsOf(r.Context()); f != nil {
			f.who = who
		}
		who.release = release
		defer func() {
			if who.stream == nil {
				a.over(who)
			}
		}()
		if kind == streams {
			r = a.watch(r)
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

func (a *api) identify(r *http.Request, k kind) (*requester, error) {
	judged := a.auth.Load()
	realm, ok := r.Context().Value(realmKey{}).(wampcore.URI)
	if !ok {
		realm = a.cfg.Realm
	}
	if hasParam(r, "realm") {
		var err error
		if realm, err = a.uri(r, "realm"); err != nil {
			return nil, err
		}
	}
	ticket, err := ticketOf(r, k == streams)
	switch {
	case err != nil:
		return nil, err
	case ticket != "":
		return a.redeem(r, ticket, realm)
	}
	who, err := a.requester(r, realm, a.authenticate)
	if err == nil {
		who.judged = judged
	}
	return who, err
}

// requester returns who a request's credentials say that it is from.
func (a *api) requester(r *http.Request, realm wampcore.URI, authenticate func(*http.Request) (*Grant, error)) (*requester, error) {
	grant, err := authenticate(r)
	switch {
	case err != nil:
		return nil, err
	case grant == nil:
		return &requester{Principal: bridge.Principal{Realm: realm}, source: r}, nil
	}
	p, ok := grant.In(realm, a.cfg.Realm)
	if !ok {
		return nil, refuse(http.StatusForbidden, refusedRealm, "these credentials are not for the realm "+string(realm))
	}
	return &requester{Principal: p, expires: grant.Expires, source: r}, nil
}

// authenticate returns what the request's credentials are good for, nil if it has none and needs none. An address that sends many
// wrong ones is not listened to.
func (a *api) authenticate(r *http.Request) (*Grant, error) {
	sent := sentCredentials(r)
	if wait := a.heard(r); sent > 0 && wait > 0 {
		return nil, tooMany(refusedFailures, "too many wrong credentials came from this address", wait)
	}
	grant, err := a.judge(r, sent)
	if p, ok := errors.AsType[*problem](err); ok && p.refusal == refusedCredentials {
		a.failed(r)
	}
	return grant, err
}

func (a *api) judge(r *http.Request, sent int) (*Grant, error) {
	auth := a.auth.Load()
	if len(auth.Methods) == 0 {
		sent = 0 // there are no wrong ones
	}
	if sent > 1 {
		return nil, refuse(http.StatusBadRequest, refusedCredentials, "send one Authorization or X-Api-Key header, not more")
	}
	for _, m := range auth.Methods {
		grant, err := m.Authenticate(r)
		switch wrong, ok := errors.AsType[*CredentialsError](err); {
		case ok:
			return nil, a.unauthorized(r, refusedCredentials, wrong.Detail)
		case err != nil:
			return nil, a.undecided(r, err)
		case grant != nil:
			return grant, nil
		}
	}
	switch {
	case sent > 0:
		return nil, a.unauthorized(r, refusedCredentials, "these credentials are of no kind or issuer that this gateway knows")
	case auth.NoAnonymous != nil && auth.NoAnonymous(r):
		return nil, a.unauthorized(r, refusedAnonymous, a.teach())
	default:
		return nil, nil //nolint:nilnil // nobody in particular
	}
}

// undecided is the answer where nobody can tell whether credentials are right.
func (a *api) undecided(r *http.Request, err error) *problem {
	a.cfg.Log.Error().Err(err).Str("request_id", requestID(r)).Msg("authentication could not be done")
	p := refuse(http.StatusServiceUnavailable, refusedUndecided, "who sends this cannot be told now")
	p.Retriable = true
	p.header = http.Header{"Retry-After": {"5"}}
	return p
}

// sentCredentials counts the headers that say who sends a request.
func sentCredentials(r *http.Request) int {
	return len(r.Header.Values("Authorization")) + len(r.Header.Values(apiKeyHeader))
}

const apiKeyHeader = "X-Api-Key" //nolint:gosec // a header's name

// unauthorized is the answer to credentials that are wrong, or missing.
func (a *api) unauthorized(r *http.Request, why refusal, detail string) *problem {
	p := refuse(http.StatusUnauthorized, why, detail)
	p.header = http.Header{"Www-Authenticate": a.challenges(r, why)}
	return p
}

// challenges are the schemes by which a request could say who it is from. [RFC 9110 11.6.1, RFC 6750 3]
func (a *api) challenges(r *http.Request, why refusal) []string {
	schemes := a.schemes()
	all := make([]string, 0, len(schemes))
	for _, scheme := range schemes {
		challenge := scheme + ` realm="wampgate"`
		if scheme == schemeBearer && why == refusedCredentials && hasScheme(r, schemeBearer) {
			challenge += `, error="invalid_token"`
		}
		if scheme == schemeBasic {
			challenge += `, charset="UTF-8"`
		}
		all = append(all, challenge)
	}
	if len(all) == 0 {
		return []string{schemeBearer} // 401 has to name one
	}
	return all
}

func (a *api) schemes() []string {
	var all []string
	for _, m := range a.auth.Load().Methods {
		if s := m.Scheme(); s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// teach says how a request tells who it is from.
func (a *api) teach() string {
	if len(a.auth.Load().Methods) == 0 {
		return "credentials of requests do not count: no method of authentication is configured for HTTP"
	}
	if all := a.schemes(); len(all) > 0 {
		return "say who you are: send an Authorization header of the scheme " + strings.Join(all, " or ")
	}
	return "say who you are: show a client certificate"
}

// The schemes of Authorization headers.
const (
	schemeBearer = "Bearer"
	schemeAPIKey = "ApiKey"
	schemeBasic  = "Basic"
)

// hasScheme reports whether the request's Authorization header is of this scheme.
func hasScheme(r *http.Request, scheme string) bool {
	_, ok := credentials(r, scheme)
	return ok
}

// credentials returns what stands behind the scheme in the Authorization header.
func credentials(r *http.Request, scheme string) (string, bool) {
	name, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(name, scheme) {
		return "", false
	}
	return strings.TrimSpace(value), true
}
