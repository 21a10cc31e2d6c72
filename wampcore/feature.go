package wampcore

// Role is a role that a peer plays: four of a client's, two of a router's.
type Role uint8

// The roles.
const (
	RolePublisher Role = iota
	RoleSubscriber
	RoleCaller
	RoleCallee
	RoleBroker
	RoleDealer

	numRoles = 6
)

// String returns the name that stands in HELLO and WELCOME.
func (r Role) String() string {
	return [numRoles]string{"publisher", "subscriber", "caller", "callee", "broker", "dealer"}[r]
}

// Feature is an advanced feature that a role announces.
type Feature uint8

// The features, as the checklist's table of keys has them.
const (
	ProgressiveCallResults Feature = iota
	ProgressiveCallInvocations
	CallTimeout
	CallCanceling
	CallerIdentification
	CallTrustlevels
	RegistrationMetaAPI
	PatternBasedRegistration
	SharedRegistration
	ShardedRegistration
	RegistrationRevocation
	CallReroute
	SessionMetaAPI
	TestamentMetaAPI
	SubscriberBlackwhiteListing
	PublisherExclusion
	PublisherIdentification
	PublicationTrustlevels
	SubscriptionMetaAPI
	PatternBasedSubscription
	EventHistory
	EventRetention
	SubscriptionRevocation
	PayloadPassthruMode

	numFeatures
)

// String returns the key that stands under "features".
func (f Feature) String() string {
	return [numFeatures]string{
		"progressive_call_results", "progressive_call_invocations", "call_timeout", "call_canceling",
		"caller_identification", "call_trustlevels", "registration_meta_api", "pattern_based_registration",
		"shared_registration", "sharded_registration", "registration_revocation", "call_reroute",
		"session_meta_api", "testament_meta_api", "subscriber_blackwhite_listing", "publisher_exclusion",
		"publisher_identification", "publication_trustlevels", "subscription_meta_api", "pattern_based_subscription",
		"event_history", "event_retention", "subscription_revocation", "payload_passthru_mode",
	}[f]
}

// Roles is the set of roles that a peer announces, each with its features. The zero value is empty.
type Roles struct {
	has        uint8
	features   [numRoles]uint32
	reflection uint8
}

// NewRoles returns the roles given, without features.
func NewRoles(roles ...Role) Roles {
	var rs Roles
	for _, r := range roles {
		rs.Add(r)
	}
	return rs
}

// Add announces a role, and features of it.
func (rs *Roles) Add(r Role, features ...Feature) {
	rs.has |= 1 << r
	for _, f := range features {
		rs.features[r] |= 1 << f
	}
}

// Has reports whether the role is announced.
func (rs *Roles) Has(r Role) bool { return rs.has&(1<<r) != 0 }

// Supports reports whether the role is announced with the feature.
func (rs *Roles) Supports(r Role, f Feature) bool { return rs.features[r]&(1<<f) != 0 }

// AddReflection announces that a router's role has the reflection procedures. It stands beside the features.
func (rs *Roles) AddReflection(r Role) { rs.reflection |= 1 << r }

// Reflection reports whether a router's role has the reflection procedures.
func (rs *Roles) Reflection(r Role) bool { return rs.reflection&(1<<r) != 0 }
