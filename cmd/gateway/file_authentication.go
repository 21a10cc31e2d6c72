package main

import (
	"cmp"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// methodSection is a method of authentication that a realm offers.
type methodSection struct {
	askerSection // who is asked, where that is not the file's principals

	Role string `json:"role"` // of anonymous
	JWT  bool   `json:"jwt"`  // tickets may be tokens of the issuers in http.jwt

	Key *secret `json:"key"` // of cryptosign: the router's own, which clients may want it to prove

	key ed25519.PrivateKey // made by check
}

// authentication are a realm's methods by name. One that is only named is nil.
type authentication map[string]*methodSection

const (
	anonymousMethod   = "anonymous"
	certificateMethod = "tls"
)

// checkAuthentication compares the methods with the principals and roles that are there for them.
func (r *realmSection) checkAuthentication(at place) {
	r.Authentication.check(at.in("authentication"))
	if role := r.Authentication.anonymousRole(); r.open() && r.Roles != nil && r.Roles[role] == nil {
		at.badKey("anonymous sessions have the role %q, which is not among the realm's roles; add it, or name under authentication what there is instead", role)
	}
	for name, p := range r.Principals {
		at := at.in("principals", name)
		if r.Roles != nil && r.Roles[p.Role] == nil {
			at.in("role").bad("the realm has no role %q; %s", p.Role, suggest(p.Role, slices.Sorted(maps.Keys(r.Roles))))
		}
		for method, has := range p.methods() {
			m, offered := r.Authentication[method]
			switch {
			case has && !offered:
				at.in(method).badKey("the realm does not offer %s; add it to the realm's authentication", method)
			case has && m.asker != nil && method != "ticket":
				at.in(method).badKey("the realm asks others about %s; leave one of the two out", method)
			}
		}
	}
}

// check reports what goes with other methods, or none.
func (a authentication) check(at place) {
	for name, m := range a {
		if m == nil {
			m = new(methodSection)
			a[name] = m
		}
		at := at.in(name)
		m.check(at)
		switch {
		case m.Role != "" && name != anonymousMethod:
			at.in("role").badKey("it is for anonymous; others have the role of their principal")
		case m.asker != nil && name == anonymousMethod:
			at.badKey("nobody is asked about anonymous")
		case m.asker != nil && name == certificateMethod:
			at.badKey("nobody is asked about certificates: http.certificates says who they are")
		case m.JWT && name != "ticket":
			at.in("jwt").badKey("it is for ticket")
		case m.Key != nil && name != "cryptosign":
			at.in("key").badKey("it is for cryptosign")
		case m.Key != nil:
			m.key = signingKey(m.Key, at.in("key"))
		}
	}
}

// signingKey reads the key that gateway keygen calls private.
func signingKey(s *secret, at place) ed25519.PrivateKey {
	s.resolve(at)
	seed, err := hex.DecodeString(s.text)
	if err != nil || len(seed) != ed25519.SeedSize {
		if s.text != "" {
			at.bad("it is no private key; want 32 octets in hex, as gateway keygen makes them")
		}
		return nil
	}
	return ed25519.NewKeyFromSeed(seed)
}

func (a authentication) anonymousRole() string {
	if m := a[anonymousMethod]; m != nil {
		return cmp.Or(m.Role, anonymousMethod)
	}
	return anonymousMethod
}

// open reports whether everybody is let in.
func (r *realmSection) open() bool {
	_, anonymous := r.Authentication[anonymousMethod]
	return anonymous || r.Authentication == nil
}

// anonymousMayAll reports whether there is a realm where everybody is let in, and may do everything.
func (c *config) anonymousMayAll() bool {
	if c.File == nil || len(c.File.Realms) == 0 {
		return true
	}
	for _, r := range c.File.Realms {
		if r.open() && (r.Roles == nil || r.Roles[r.Authentication.anonymousRole()].mayAll()) {
			return true
		}
	}
	return false
}

// authenticators returns what the router is told: nil where nothing is said.
func (r *realmSection) authenticators(f *file, realm wampcore.URI) map[string]router.Authenticator {
	if r.Authentication == nil {
		return nil
	}
	all := map[string]router.Authenticator{}
	for name, m := range r.Authentication {
		from := router.Principals(r.Principals)
		if m.asker != nil {
			from = router.DynamicPrincipals{Asker: m.asker, Timeout: m.timeout()}
		}
		switch name {
		case anonymousMethod:
			all[name] = router.Anonymous{AuthRole: r.Authentication.anonymousRole()}
		case "ticket":
			all[name] = router.Ticket{Principals: r.Principals, Verifiers: m.verifiers(f.issuers)}
		case "wampcra":
			all[name] = router.WAMPCRA{Principals: from, Salt: r.Principals.craSalt()}
		case "scram":
			all["wamp-scram"] = router.WAMPSCRAM{Principals: from, Params: r.Principals.scramParams()}
		case "cryptosign":
			all[name] = router.Cryptosign{Principals: from, Key: m.key}
		case certificateMethod:
			all[name] = router.Certificate{Identify: f.identify(realm)}
		}
	}
	return all
}

// identify returns what finds out who a certificate is in a realm: it is the same as for HTTP.
func (f *file) identify(realm wampcore.URI) func(*x509.Certificate) (router.Identity, bool) {
	return func(cert *x509.Certificate) (router.Identity, bool) {
		grant, err := f.rules.Authenticate(&http.Request{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}})
		if err != nil || grant == nil {
			return router.Identity{}, false
		}
		p, ok := grant.In(realm, "")
		return router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method, Provider: p.Provider, Expires: grant.Expires}, ok
	}
}

// verifiers decide about tickets that are no principal's.
func (m *methodSection) verifiers(tokens issuers) []router.TicketVerifier {
	var all []router.TicketVerifier
	if m.JWT {
		all = append(all, tokens)
	}
	if m.asker != nil {
		all = append(all, router.DynamicPrincipals{Asker: m.asker, Timeout: m.timeout()})
	}
	return all
}

// craSalt is how most of the principals are salted: unknown ones seem to be, too.
func (ps principals) craSalt() auth.CRASalt {
	return most(ps, func(p *principalSection) (auth.CRASalt, bool) {
		salt := p.principal.Salt
		salt.Salt = ""
		return salt, p.WAMPCRA != nil
	})
}

// scramParams are those that most of the principals have.
func (ps principals) scramParams() auth.SCRAMParams {
	type params struct {
		kdf                string
		iterations, memory int
	}
	m := most(ps, func(p *principalSection) (params, bool) {
		if p.SCRAM == nil {
			return params{}, false
		}
		return params{p.SCRAM.KDF, p.SCRAM.Iterations, p.SCRAM.Memory}, true
	})
	return auth.SCRAMParams{KDF: m.kdf, Iterations: m.iterations, Memory: m.memory}
}

// most returns the value that most of the principals have, of those that have one.
func most[T comparable](ps principals, of func(*principalSection) (T, bool)) T {
	counts := map[T]int{}
	var best T
	for _, name := range slices.Sorted(maps.Keys(ps)) {
		if v, ok := of(ps[name]); ok {
			if counts[v]++; counts[v] > counts[best] {
				best = v
			}
		}
	}
	return best
}
