package wampcore

import "time"

// Attribute is a key of Options or Details that an implementation adds, "_" and at least three of [a-z0-9_], with its
// value as it was encoded.
type Attribute struct {
	Key   string
	Value Raw
}

// Attributes are the implementation-specific attributes of one message, in the order they came.
type Attributes []Attribute

// Size returns how many bytes their keys and values have.
func (as Attributes) Size() int {
	n := 0
	for _, a := range as {
		n += len(a.Key) + len(a.Value.Bytes)
	}
	return n
}

// Match is how the URI of a subscription or a registration is compared.
type Match uint8

// The matching policies.
const (
	MatchExact Match = iota
	MatchPrefix
	MatchWildcard
)

// String returns the policy's name: exact, prefix or wildcard.
func (m Match) String() string { return [...]string{"exact", "prefix", "wildcard"}[m] }

// Invoke is how a dealer chooses among the callees of one registration.
type Invoke uint8

// The invocation policies. The last is ours: least calls open.
const (
	InvokeSingle Invoke = iota
	InvokeRoundRobin
	InvokeRandom
	InvokeFirst
	InvokeLast
	InvokeLeastPending
)

// String returns the policy's name as it stands in REGISTER.
func (i Invoke) String() string {
	return [...]string{"single", "roundrobin", "random", "first", "last", "_leastpending"}[i]
}

// CancelMode is how a call is cancelled. The zero value means that none was given.
type CancelMode uint8

// The ways of cancelling a call.
const (
	CancelDefault CancelMode = iota
	CancelSkip
	CancelKill
	CancelKillNoWait
)

// String returns the mode's name, empty for CancelDefault.
func (m CancelMode) String() string { return [...]string{"", "skip", "kill", "killnowait"}[m] }

// Passthru is what a message says of a payload that routers do not look into. [payload passthru mode]
type Passthru struct {
	Scheme     string // empty: not in use
	Serializer string
	Cipher     string
	KeyID      string
}

// Size returns how many bytes its values have.
func (p *Passthru) Size() int {
	return len(p.Scheme) + len(p.Serializer) + len(p.Cipher) + len(p.KeyID)
}

// HelloDetails are HELLO.Details.
type HelloDetails struct {
	Roles       Roles
	Agent       string
	AuthMethods []string
	AuthID      string
	AuthExtra   Raw
	Custom      Attributes
}

// WelcomeDetails are WELCOME.Details.
type WelcomeDetails struct {
	Roles        Roles
	Agent        string
	Realm        string
	AuthID       string
	AuthRole     string
	AuthMethod   string
	AuthProvider string
	AuthExtra    Raw
	Custom       Attributes
}

// CloseDetails are the Details of ABORT and GOODBYE.
type CloseDetails struct {
	Message string
	Scram   string // ABORT after WAMP-SCRAM: RFC 5802's server-error-value
	Custom  Attributes
}

// ErrorDetails are ERROR.Details.
type ErrorDetails struct {
	Passthru Passthru
	Custom   Attributes
}

// PublishOptions are PUBLISH.Options. A nil list was not given; an empty one was, and means nobody if it is of the
// eligible.
type PublishOptions struct {
	Acknowledge      bool
	IncludeMe        bool // exclude_me is false
	DiscloseMe       bool
	Retain           bool
	Exclude          []ID
	ExcludeAuthID    []string
	ExcludeAuthRole  []string
	Eligible         []ID
	EligibleAuthID   []string
	EligibleAuthRole []string
	RKey             string
	Passthru         Passthru
	Custom           Attributes
}

// SubscribeOptions are SUBSCRIBE.Options.
type SubscribeOptions struct {
	Match       Match
	GetRetained bool
	NKey        string
	Custom      Attributes
}

// RevokedDetails say what the router took away from a peer.
type RevokedDetails struct {
	ID     ID
	Reason string
}

// EventDetails are EVENT.Details.
type EventDetails struct {
	Topic             URI // where the subscription is by a pattern
	Publisher         ID
	PublisherAuthID   string
	PublisherAuthRole string
	TrustLevel        *int64
	Retained          bool
	Passthru          Passthru
	Custom            Attributes
}

// CallOptions are CALL.Options.
type CallOptions struct {
	ReceiveProgress bool
	Progress        bool
	DiscloseMe      bool
	Timeout         time.Duration // whole milliseconds on the wire; 0: none
	RKey            string
	RunMode         string
	Passthru        Passthru
	Custom          Attributes
}

// RegisterOptions are REGISTER.Options.
type RegisterOptions struct {
	Match          Match
	Invoke         Invoke
	DiscloseCaller bool
	ForwardTimeout bool
	Custom         Attributes
}

// InvocationDetails are INVOCATION.Details.
type InvocationDetails struct {
	ReceiveProgress bool
	Progress        bool
	Timeout         time.Duration
	Caller          ID
	CallerAuthID    string
	CallerAuthRole  string
	Procedure       URI // where the registration is by a pattern
	TrustLevel      *int64
	Passthru        Passthru
	Custom          Attributes
}

// YieldOptions are YIELD.Options.
type YieldOptions struct {
	Progress bool
	Passthru Passthru
	Custom   Attributes
}

// ResultDetails are RESULT.Details.
type ResultDetails struct {
	Progress bool
	Passthru Passthru
	Custom   Attributes
}
