package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// httpSection says who HTTP requests are from, beside what principals have.
type httpSection struct {
	Basic        bool                 `json:"basic"`
	Sidecar      *sidecarSection      `json:"sidecar"`
	Certificates []certificateSection `json:"certificates"`
	JWT          []jwtSection         `json:"jwt"`

	Limits             *httpLimitsSection `json:"limits"`
	TrustedProxies     []string           `json:"trusted_proxies"`
	BrowserCredentials bool               `json:"browser_credentials"`
}

// apiKeySection is an API key of a principal.
type apiKeySection struct {
	Hash    string `json:"hash"`
	Expires string `json:"expires"`
}

// sidecarSection is a token that a process beside the gateway shares with it.
type sidecarSection struct {
	Token  secret         `json:"token"`
	AuthID string         `json:"authid"`
	Role   string         `json:"role"`
	Realms []wampcore.URI `json:"realms"`
}

// certificateSection is who a TLS client certificate is.
type certificateSection struct {
	CommonName string         `json:"common_name"`
	DNS        string         `json:"dns"`
	URI        string         `json:"uri"`
	Email      string         `json:"email"`
	AuthID     string         `json:"authid"`
	Role       string         `json:"role"`
	Realms     []wampcore.URI `json:"realms"`
}

// jwtSection is an issuer of tokens.
type jwtSection struct {
	Issuer      string            `json:"issuer"`
	Audiences   []string          `json:"audiences"`
	Algorithms  []string          `json:"algorithms"`
	KeysFile    string            `json:"keys_file"`
	JWKSURL     string            `json:"jwks_url"`
	Leeway      duration          `json:"leeway"`
	Refresh     duration          `json:"refresh"`
	AuthIDClaim string            `json:"authid_claim"`
	RoleClaim   string            `json:"role_claim"`
	Roles       map[string]string `json:"roles"`
	Role        string            `json:"role"`
	RealmClaim  string            `json:"realm_claim"`
	Realms      []wampcore.URI    `json:"realms"`
	Provider    string            `json:"provider"`
}

// checkHTTP makes the methods by which it is found out who a request is from.
func (f *file) checkHTTP(at place) {
	if f.HTTP != nil {
		for i, name := range f.HTTP.TrustedProxies {
			if err := httpapi.CheckProxy(name); err != nil {
				at.in("http", "trusted_proxies", i).bad("%v", err)
			}
		}
	}
	for _, made := range []func(place) (httpapi.Method, error){f.jwts, f.sidecar, f.apiKeys, f.basic, f.certificates} {
		method, err := made(at)
		if err != nil {
			at.in("http").badKey("%v", err)
		} else if method != nil {
			f.methods = append(f.methods, method)
		}
	}
}

// issuers are the methods for the tokens of some issuers.
type issuers []*httpapi.JWT

// Scheme is Bearer.
func (is issuers) Scheme() string { return is[0].Scheme() }

// Authenticate has the issuer of the request's token, if it is one of these, decide.
func (is issuers) Authenticate(r *http.Request) (*httpapi.Grant, error) {
	for _, j := range is {
		if grant, err := j.Authenticate(r); grant != nil || err != nil {
			return grant, err
		}
	}
	return nil, nil //nolint:nilnil // none of theirs
}

// Recognizes reports whether one of the issuers can have somebody be this principal.
func (is issuers) Recognizes(p bridge.Principal, byDefault wampcore.URI) bool {
	return slices.ContainsFunc(is, func(j *httpapi.JWT) bool { return j.Recognizes(p, byDefault) })
}

func (f *file) jwts(at place) (httpapi.Method, error) {
	if f.HTTP == nil || len(f.HTTP.JWT) == 0 {
		return nil, nil //nolint:nilnil // none
	}
	var all issuers
	for i, s := range f.HTTP.JWT {
		at := at.in("http", "jwt", i)
		j, err := s.method(at)
		if err != nil {
			at.badKey("%v", err)
			continue
		}
		f.checkRealms(at, s.Realms)
		all = append(all, j)
	}
	f.issuers = all
	return all, nil
}

func (s *jwtSection) method(at place) (*httpapi.JWT, error) {
	cfg := httpapi.JWTConfig{
		Issuer: s.Issuer, Audiences: s.Audiences, Algorithms: s.Algorithms, JWKSURL: s.JWKSURL,
		Leeway: time.Duration(s.Leeway), Refresh: time.Duration(s.Refresh),
		AuthIDClaim: s.AuthIDClaim, AuthRoleClaim: s.RoleClaim, AuthRoles: s.Roles, AuthRole: s.Role, RealmClaim: s.RealmClaim,
		Realms: s.Realms, Provider: s.Provider,
	}
	if s.KeysFile != "" {
		at.problems.files = append(at.problems.files, s.KeysFile)
		keys, err := readAtMost(s.KeysFile, maxDocument)
		if err != nil {
			return nil, err
		}
		cfg.Keys = keys
	}
	if s.JWKSURL != "" {
		egress, err := egressTo(s.JWKSURL)
		if err != nil {
			return nil, err
		}
		cfg.Client = &http.Client{Transport: roundTripper{egress}}
	}
	return httpapi.NewJWT(cfg)
}

// roundTripper sends requests to where they may go, and nowhere else.
type roundTripper struct{ *bridge.Egress }

// RoundTrip sends a request.
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t.Do(r) }

func readAtMost(name string, most int64) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return b, err
}

func (f *file) sidecar(at place) (httpapi.Method, error) {
	if f.HTTP == nil || f.HTTP.Sidecar == nil {
		return nil, nil //nolint:nilnil // none
	}
	s := f.HTTP.Sidecar
	at = at.in("http", "sidecar")
	s.Token.resolve(at.in("token"))
	f.checkRealms(at, s.Realms)
	if s.Token.text == "" {
		return nil, nil //nolint:nilnil // which was said
	}
	method, err := httpapi.NewSidecar(s.Token.text, s.AuthID, s.Role, s.Realms...)
	if err != nil {
		at.badKey("%v", err)
		return nil, nil //nolint:nilnil // it was said what is wrong
	}
	return method, nil
}

// eachPrincipal yields the principals of all realms, in a fixed order.
func (f *file) eachPrincipal(at place, do func(at place, realm wampcore.URI, name string, p *principalSection)) {
	for _, realm := range slices.Sorted(maps.Keys(f.Realms)) {
		ps := f.Realms[realm].Principals
		for _, name := range slices.Sorted(maps.Keys(ps)) {
			do(at.in("realms", realm, "principals", name), realm, name, ps[name])
		}
	}
}

func (f *file) apiKeys(at place) (httpapi.Method, error) {
	var keys []httpapi.APIKey
	seen := map[string]bool{}
	f.eachPrincipal(at, func(at place, realm wampcore.URI, name string, p *principalSection) {
		for _, id := range slices.Sorted(maps.Keys(p.APIKeys)) {
			at := at.in("api_keys", id)
			k := p.APIKeys[id]
			key := httpapi.APIKey{ID: id, Hash: k.Hash, AuthID: name, AuthRole: p.Role, Realms: []wampcore.URI{realm}}
			var err error
			if k.Expires != "" {
				if key.Expires, err = time.Parse(time.RFC3339, k.Expires); err != nil {
					at.in("expires").bad("want a time such as 2027-01-31T00:00:00Z")
				}
			}
			if f.Realms[realm].OnDemand != nil {
				at.badKey("API keys are for realms that are always there, not for those on demand")
			}
			if seen[id] {
				at.badKey("there is another API key of this id; ids are the same for all realms")
			}
			if _, err := httpapi.NewAPIKeys(key); err != nil {
				at.badKey("%v", err)
			}
			seen[id] = true
			keys = append(keys, key)
		}
	})
	if len(keys) == 0 || len(at.problems.all) > 0 {
		return nil, nil //nolint:nilnil // none, or it was said what is wrong
	}
	return httpapi.NewAPIKeys(keys...)
}

func (f *file) basic(at place) (httpapi.Method, error) {
	if f.HTTP == nil || !f.HTTP.Basic {
		return nil, nil //nolint:nilnil // none
	}
	users := map[string]*httpapi.BasicUser{}
	f.eachPrincipal(at, func(at place, realm wampcore.URI, name string, p *principalSection) {
		if p.Ticket == nil || f.Realms[realm].OnDemand != nil {
			return
		}
		u := users[name]
		if u == nil {
			u = &httpapi.BasicUser{Name: name, Password: p.Ticket.text, AuthRole: p.Role}
			users[name] = u
		}
		if u.Password != p.Ticket.text || u.AuthRole != p.Role {
			at.badKey("it has another ticket or role in another realm, which http.basic cannot tell apart")
		}
		u.Realms = append(u.Realms, realm)
	})
	if len(users) == 0 {
		at.in("http", "basic").bad("no principal has a ticket, which is the password here")
		return nil, nil //nolint:nilnil // which was said
	}
	all := make([]httpapi.BasicUser, 0, len(users))
	for _, name := range slices.Sorted(maps.Keys(users)) {
		all = append(all, *users[name])
	}
	if len(at.problems.all) > 0 {
		return nil, nil //nolint:nilnil // it was said what is wrong
	}
	return httpapi.NewBasic(all...)
}

func (f *file) certificates(at place) (httpapi.Method, error) {
	if f.HTTP == nil || len(f.HTTP.Certificates) == 0 {
		return nil, nil //nolint:nilnil // none
	}
	rules := make([]httpapi.CertificateRule, len(f.HTTP.Certificates))
	for i, c := range f.HTTP.Certificates {
		f.checkRealms(at.in("http", "certificates", i), c.Realms)
		rules[i] = httpapi.CertificateRule{
			CommonName: c.CommonName, DNS: c.DNS, URI: c.URI, Email: c.Email, AuthID: c.AuthID, AuthRole: c.Role, Realms: c.Realms,
		}
		if c.CommonName+c.DNS+c.URI+c.Email == "" {
			at.in("http", "certificates", i).badKey("want what the certificate has to have: common_name, dns, uri or email")
		}
	}
	if len(at.problems.all) > 0 {
		return nil, nil //nolint:nilnil // it was said what is wrong
	}
	made, err := httpapi.NewCertificates(rules...)
	if err != nil {
		return nil, err
	}
	f.rules = made
	return made, nil
}

// checkRealms reports realms that there are not.
func (f *file) checkRealms(at place, realms []wampcore.URI) {
	onDemand := slices.ContainsFunc(slices.Collect(maps.Values(f.Realms)), func(r *realmSection) bool { return r.OnDemand != nil })
	for i, realm := range realms {
		if realm != httpapi.EveryRealm && f.Realms[realm] == nil && !onDemand && len(f.Realms) > 0 {
			names := make([]string, 0, len(f.Realms))
			for name := range f.Realms {
				names = append(names, string(name))
			}
			slices.Sort(names)
			at.in("realms", i).bad("there is no realm %q; %s", string(realm), suggest(string(realm), names))
		}
	}
}

// httpAuth is how it is found out who a request is from.
func (c *config) httpAuth() httpapi.Auth {
	auth := httpapi.Auth{NoAnonymous: unnamed}
	if c.File != nil {
		auth.Methods = c.File.methods
	}
	return auth
}
