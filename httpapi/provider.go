package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
)

// provider is how somebody signs webhooks.
type provider struct {
	verify   func(m *message, secrets []string) error // also when it was signed
	delivery func(m *message) string                  // what is the same when it is sent again
	event    func(m *message) string                  // what it is about
	headers  []string                                 // that are passed on
	greeting func(m *message) ([]byte, bool)          // an answer that proves that one is there; optional
}

func (p *provider) challenge(m *message) ([]byte, bool) {
	if p.greeting == nil {
		return nil, false
	}
	return p.greeting(m)
}

// Providers are the names of those whose webhooks are known.
func Providers() []string { return slices.Sorted(maps.Keys(providers)) }

var providers = map[string]provider{ //nolint:gochecknoglobals // a constant table
	"github": {
		verify:   verifyGitHub,
		delivery: header("X-GitHub-Delivery"),
		event:    header("X-GitHub-Event"),
		headers:  []string{"X-GitHub-Event", "X-GitHub-Delivery", "X-GitHub-Hook-Id", "X-GitHub-Hook-Installation-Target-Type", "X-GitHub-Hook-Installation-Target-Id"},
	},
	"gitlab": {
		verify:   verifyGitLab,
		delivery: gitLabDelivery,
		event:    header("X-Gitlab-Event"),
		headers:  []string{"X-Gitlab-Event", "X-Gitlab-Instance", "X-Gitlab-Event-UUID", "X-Gitlab-Webhook-UUID", "Idempotency-Key"},
	},
	"slack": {
		verify:   verifySlack,
		delivery: slackDelivery,
		event:    member("type"),
		headers:  []string{"X-Slack-Request-Timestamp", "X-Slack-Retry-Num", "X-Slack-Retry-Reason"},
		greeting: slackChallenge,
	},
	"standard": {
		verify:   verifyStandard,
		delivery: header("Webhook-Id"),
		event:    member("type"),
		headers:  []string{"Webhook-Id", "Webhook-Timestamp"},
	},
	"stripe": {
		verify:   verifyStripe,
		delivery: member("id"),
		event:    member("type"),
	},
}

func header(name string) func(*message) string {
	return func(m *message) string { return m.header.Get(name) }
}

func member(name string) func(*message) string {
	return func(m *message) string { return m.member(name) }
}

// What is said of signatures does not tell how near they came.
var (
	errNoSignature    = errors.New("the request has no signature")
	errWrongSignature = errors.New("the signature is wrong")
)

// verifyHMAC reports whether one of the signatures is by one of the secrets. All are tried: the time says nothing.
func verifyHMAC(signatures [][]byte, secrets []string, parts ...string) error {
	if len(signatures) == 0 {
		return errNoSignature
	}
	good := false
	for _, secret := range secrets {
		h := hmac.New(sha256.New, []byte(secret))
		for _, part := range parts {
			_, _ = h.Write([]byte(part)) // it never fails
		}
		want := h.Sum(nil)
		for _, s := range signatures {
			good = hmac.Equal(s, want) || good
		}
	}
	if !good {
		return errWrongSignature
	}
	return nil
}

// maxSignatures is how many signatures of one header are looked at.
const maxSignatures = 8

func fromHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// verifyGitHub checks X-Hub-Signature-256: sha256=<hex>.
func verifyGitHub(m *message, secrets []string) error {
	text, ok := strings.CutPrefix(m.header.Get("X-Hub-Signature-256"), "sha256=")
	if !ok {
		return errNoSignature
	}
	return verifyHMAC([][]byte{fromHex(text)}, secrets, string(m.body))
}

// verifyGitLab compares X-Gitlab-Token, which is the secret itself.
func verifyGitLab(m *message, secrets []string) error {
	token := m.header.Get("X-Gitlab-Token")
	if token == "" {
		return errNoSignature
	}
	got, good := sha256.Sum256([]byte(token)), false
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(secret))
		good = hmac.Equal(got[:], want[:]) || good
	}
	if !good {
		return errWrongSignature
	}
	return nil
}

// gitLabDelivery is the key that GitLab has for it, or what comes near: a recursive event has the UUID of its cause.
func gitLabDelivery(m *message) string {
	if key := m.header.Get("Idempotency-Key"); key != "" {
		return key
	}
	uuid := m.header.Get("X-Gitlab-Event-UUID")
	if uuid == "" {
		return ""
	}
	sum := sha256.Sum256(m.body)
	return uuid + "-" + hex.EncodeToString(sum[:16])
}

// verifySlack checks X-Slack-Signature: v0=<hex> over v0:<time>:<body>.
func verifySlack(m *message, secrets []string) error {
	stamp := m.header.Get("X-Slack-Request-Timestamp")
	text, ok := strings.CutPrefix(m.header.Get("X-Slack-Signature"), "v0=")
	if !ok || stamp == "" {
		return errNoSignature
	}
	if err := m.at(stamp); err != nil {
		return err
	}
	return verifyHMAC([][]byte{fromHex(text)}, secrets, "v0:", stamp, ":", string(m.body))
}

// slackDelivery is an event's id; commands have none, and are not sent again.
func slackDelivery(m *message) string {
	if id := m.member("event_id"); id != "" {
		return id
	}
	return m.header.Get("X-Slack-Signature")
}

func slackChallenge(m *message) ([]byte, bool) {
	if m.member("type") != "url_verification" {
		return nil, false
	}
	return []byte(m.member("challenge")), true
}

// verifyStripe checks Stripe-Signature: t=<time>,v1=<hex>,… over <time>.<body>.
func verifyStripe(m *message, secrets []string) error {
	var stamp string
	var signatures [][]byte
	for part := range strings.SplitSeq(m.header.Get("Stripe-Signature"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			stamp = value
		case "v1":
			if len(signatures) < maxSignatures {
				signatures = append(signatures, fromHex(value))
			}
		}
	}
	if stamp == "" || len(signatures) == 0 {
		return errNoSignature
	}
	if err := m.at(stamp); err != nil {
		return err
	}
	return verifyHMAC(signatures, secrets, stamp, ".", string(m.body))
}

// verifyStandard checks the headers of Standard Webhooks: webhook-signature has v1,<base64> once or more often, over <id>.<time>.<body>.
func verifyStandard(m *message, secrets []string) error {
	id, stamp := m.header.Get("Webhook-Id"), m.header.Get("Webhook-Timestamp")
	var signatures [][]byte
	for part := range strings.FieldsSeq(m.header.Get("Webhook-Signature")) {
		text, ok := strings.CutPrefix(part, "v1,")
		if ok && len(signatures) < maxSignatures {
			b, _ := base64.StdEncoding.DecodeString(text) // what is none is wrong
			signatures = append(signatures, b)
		}
	}
	if id == "" || stamp == "" || len(signatures) == 0 {
		return errNoSignature
	}
	if err := m.at(stamp); err != nil {
		return err
	}
	keys := make([]string, len(secrets))
	for i, secret := range secrets {
		keys[i] = StandardKey(secret)
	}
	return verifyHMAC(signatures, keys, id, ".", stamp, ".", string(m.body))
}

// StandardKey returns the key that a secret of Standard Webhooks stands for: base64 behind whsec_, or the text itself.
func StandardKey(secret string) string {
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(text); err == nil {
			return string(key)
		}
	}
	return secret
}
