package wampcore

import (
	"errors"
	"fmt"
)

// Error is a request that failed: what an ERROR message says. It is answered, and the session goes on.
type Error struct {
	URI     URI
	Message string // for people; sent as the only argument where Payload is empty
	Payload Payload
}

// Error returns the URI and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.URI)
	}
	return string(e.URI) + ": " + e.Message
}

// Is reports whether target is an Error with the same URI.
func (e *Error) Is(target error) bool {
	t, ok := errors.AsType[*Error](target)
	return ok && t.URI == e.URI
}

// ProtocolError is a breach of the protocol: the session is aborted with wamp.error.protocol_violation, or with URI if
// that is set.
type ProtocolError struct {
	URI     URI
	Message string
}

// Error returns what was wrong.
func (e *ProtocolError) Error() string { return "protocol violation: " + e.Message }

// Violation returns a ProtocolError; its arguments are those of fmt.Sprintf.
func Violation(format string, args ...any) *ProtocolError {
	return &ProtocolError{Message: fmt.Sprintf(format, args...)}
}

// What a Transport's methods return when it is over.
var (
	ErrClosed      = errors.New("wampcore: transport closed")
	ErrInterrupted = errors.New("wampcore: transport interrupted")
	ErrResting     = errors.New("wampcore: nothing has come yet")
)

// The predefined URIs of errors and of reasons to close. [WAMP predefined URIs]
const (
	ErrInvalidURI             URI = "wamp.error.invalid_uri"
	ErrInvalidArgument        URI = "wamp.error.invalid_argument"
	ErrNoSuchProcedure        URI = "wamp.error.no_such_procedure"
	ErrProcedureAlreadyExists URI = "wamp.error.procedure_already_exists"
	ErrNoSuchRegistration     URI = "wamp.error.no_such_registration"
	ErrNoSuchSubscription     URI = "wamp.error.no_such_subscription"
	ErrNoSuchSession          URI = "wamp.error.no_such_session"
	ErrNoSuchRealm            URI = "wamp.error.no_such_realm"
	ErrNoSuchRole             URI = "wamp.error.no_such_role"
	ErrNoSuchPrincipal        URI = "wamp.error.no_such_principal"
	ErrCanceled               URI = "wamp.error.canceled"
	ErrTimeout                URI = "wamp.error.timeout"
	ErrUnavailable            URI = "wamp.error.unavailable"
	ErrNoAvailableCallee      URI = "wamp.error.no_available_callee"
	ErrFeatureNotSupported    URI = "wamp.error.feature_not_supported"
	ErrPayloadSizeExceeded    URI = "wamp.error.payload_size_exceeded"
	ErrProtocolViolation      URI = "wamp.error.protocol_violation"
	ErrNotAuthorized          URI = "wamp.error.not_authorized"
	ErrAuthorizationDenied    URI = "wamp.error.authorization_denied"
	ErrAuthorizationFailed    URI = "wamp.error.authorization_failed"
	ErrAuthorizationRequired  URI = "wamp.error.authorization_required"
	ErrAuthenticationDenied   URI = "wamp.error.authentication_denied"
	ErrAuthenticationFailed   URI = "wamp.error.authentication_failed"
	ErrAuthenticationRequired URI = "wamp.error.authentication_required"
	ErrNoMatchingAuthMethod   URI = "wamp.error.no_matching_auth_method"
	ErrOptionNotAllowed       URI = "wamp.error.option_not_allowed"
	ErrDiscloseMeDisallowed   URI = "wamp.error.option_disallowed.disclose_me"
	ErrNetworkFailure         URI = "wamp.error.network_failure"
	ErrLimitExceeded          URI = "wamp.error.limit_exceeded" // ours: more, or faster, than is allowed to who asks
	ErrRuntime                URI = "wamp.error.runtime_error"

	CloseSystemShutdown URI = "wamp.close.system_shutdown"
	CloseRealm          URI = "wamp.close.close_realm"
	CloseGoodbyeAndOut  URI = "wamp.close.goodbye_and_out"
	CloseKilled         URI = "wamp.close.killed"
	CloseSlowConsumer   URI = "wamp.close.slow_consumer" // ours: the peer does not read as fast as it is written to
)
