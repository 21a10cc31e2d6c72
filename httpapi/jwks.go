package httpapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keySource has an issuer's public keys.
type keySource interface {
	// find returns the keys that a token with this key id may be signed with, and their version.
	find(ctx context.Context, id string) ([]jose.JSONWebKey, uint64, error)
	version() uint64
}

// staticKeys never change.
type staticKeys []jose.JSONWebKey

func (k staticKeys) version() uint64 { return 1 }

func (k staticKeys) find(_ context.Context, id string) ([]jose.JSONWebKey, uint64, error) {
	if found := withID(k, id); len(found) > 0 {
		return found, 1, nil
	}
	return nil, 0, errUnknownKey
}

var errUnknownKey = &CredentialsError{"the token is signed with a key that its issuer does not have"}

// withID returns the keys with an id, and those without any. Every key will do where the token names none.
func withID(set []jose.JSONWebKey, id string) []jose.JSONWebKey {
	var found []jose.JSONWebKey
	for _, k := range set {
		if id == "" || k.KeyID == id || k.KeyID == "" {
			found = append(found, k)
		}
	}
	return found
}

// What a set of keys may have.
const (
	maxKeySet  = 1 << 20 // bytes
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192 // verifying takes longer with larger ones
)

var (
	errNoKeys      = errors.New("there is no public key that tokens may be signed with: want RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519")
	errPrivateKey  = errors.New("there is a private key: give the public one alone")
	errTooManyKeys = fmt.Errorf("there are more than %d keys", maxKeys)
)

// parseKeys reads a JWK, a JWK set, or PEM.
func parseKeys(b []byte) ([]jose.JSONWebKey, error) {
	set, err := parsePEM(b)
	if trimmed := bytes.TrimSpace(b); bytes.HasPrefix(trimmed, []byte("{")) {
		set, err = parseJWKs(trimmed)
	}
	if err == nil && len(set) == 0 {
		err = errNoKeys
	}
	return set, err
}

// parseJWKs reads a JWK or a set of them. Keys of other kinds than tokens are signed with are left out.
func parseJWKs(b []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("no JWK set: %w", err)
	}
	if raw.Keys == nil {
		raw.Keys = []json.RawMessage{b}
	}
	if len(raw.Keys) > maxKeys {
		return nil, errTooManyKeys
	}
	var set []jose.JSONWebKey
	for _, one := range raw.Keys {
		var k jose.JSONWebKey
		switch err := k.UnmarshalJSON(one); {
		case err != nil, !usable(k):
		case !k.IsPublic():
			return nil, errPrivateKey
		default:
			set = append(set, k)
		}
	}
	return set, nil
}

func parsePEM(b []byte) ([]jose.JSONWebKey, error) {
	var set []jose.JSONWebKey
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return set, nil
		}
		var key any
		var err error
		switch {
		case block.Type == "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case block.Type == "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case block.Type == "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = cert.PublicKey
			}
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, errPrivateKey
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.ToLower(block.Type), err)
		}
		if k := (jose.JSONWebKey{Key: key}); usable(k) {
			set = append(set, k)
		}
		if len(set) > maxKeys {
			return nil, errTooManyKeys
		}
	}
}

// usable reports whether tokens may be signed with a key. Private keys count, so that they can be told apart.
func usable(k jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Public().Key.(type) {
	case *rsa.PublicKey:
		return key.N != nil && key.N.BitLen() >= minRSABits && key.N.BitLen() <= maxRSABits && k.Valid()
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return k.Valid()
	default:
		return false
	}
}

// fits reports whether a key is one for an algorithm.
func fits(k jose.JSONWebKey, alg string) bool {
	if k.Algorithm != "" && k.Algorithm != alg {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[key.Curve]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	default:
		return false
	}
}

// How keys are fetched.
const (
	fetchTimeout = 5 * time.Second
	fetchEvery   = 10 * time.Second // at the most, whatever tokens say
	maxStale     = 24 * time.Hour   // that keys are good without being fetched again
)

// remoteKeys are fetched when they are first needed, when a token names one that is not there, and from time to time. While that
// fails, the last ones are good.
type remoteKeys struct {
	url     string
	client  *http.Client
	refresh time.Duration

	mu       sync.Mutex
	set      []jose.JSONWebKey
	versions uint64
	fetched  time.Time // the last time that it went well
	tried    time.Time
	err      error         // of the last time
	fetching chan struct{} // closed when that is over; nil: nobody does
}

func newRemoteKeys(cfg JWTConfig) *remoteKeys {
	client := http.Client{}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the operator named the place
	return &remoteKeys{url: cfg.JWKSURL, client: &client, refresh: cfg.Refresh}
}

func (k *remoteKeys) version() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.versions
}

func (k *remoteKeys) find(ctx context.Context, id string) ([]jose.JSONWebKey, uint64, error) {
	found, version, fetching := k.look(id, true) //nolint:contextcheck // the keys are for others, too
	if len(found) > 0 {
		return found, version, nil
	}
	if fetching != nil {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
		found, version, _ = k.look(id, false) //nolint:contextcheck // it does not fetch
	}
	if len(found) > 0 {
		return found, version, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.good() {
		return nil, 0, errUnknownKey
	}
	return nil, 0, fmt.Errorf("the keys of the issuer cannot be fetched: %w", k.err)
}

// good reports whether there are keys that are not too old. mu is held.
func (k *remoteKeys) good() bool { return !k.fetched.IsZero() && time.Since(k.fetched) < maxStale }

// look returns the keys that are there. If they are old, or none is, somebody begins to fetch them.
func (k *remoteKeys) look(id string, fetch bool) ([]jose.JSONWebKey, uint64, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []jose.JSONWebKey
	if k.good() {
		found = withID(k.set, id)
	}
	needed := len(found) == 0 || time.Since(k.fetched) > k.refresh
	if fetch && needed && k.fetching == nil && time.Since(k.tried) >= fetchEvery {
		k.fetching, k.tried = make(chan struct{}), time.Now()
		go k.update() // it ends by its time
	}
	return found, k.versions, k.fetching
}

func (k *remoteKeys) update() {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err = err; err == nil {
		k.set, k.fetched = set, time.Now()
		k.versions++
	}
	close(k.fetching)
	k.fetching = nil
}

func (k *remoteKeys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", k.url, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxKeySet:
		return nil, fmt.Errorf("%s has more than %d bytes", k.url, maxKeySet)
	}
	set, err := parseJWKs(b)
	if err == nil && len(set) == 0 {
		err = errNoKeys
	}
	return set, err
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
