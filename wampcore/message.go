package wampcore

import "sync/atomic"

// MessageType is the code that a message begins with.
type MessageType uint16

// The message types. [WAMP message codes]
const (
	TypeHello        MessageType = 1
	TypeWelcome      MessageType = 2
	TypeAbort        MessageType = 3
	TypeChallenge    MessageType = 4
	TypeAuthenticate MessageType = 5
	TypeGoodbye      MessageType = 6
	TypeError        MessageType = 8
	TypePublish      MessageType = 16
	TypePublished    MessageType = 17
	TypeSubscribe    MessageType = 32
	TypeSubscribed   MessageType = 33
	TypeUnsubscribe  MessageType = 34
	TypeUnsubscribed MessageType = 35
	TypeEvent        MessageType = 36
	TypeCall         MessageType = 48
	TypeCancel       MessageType = 49
	TypeResult       MessageType = 50
	TypeRegister     MessageType = 64
	TypeRegistered   MessageType = 65
	TypeUnregister   MessageType = 66
	TypeUnregistered MessageType = 67
	TypeInvocation   MessageType = 68
	TypeInterrupt    MessageType = 69
	TypeYield        MessageType = 70
)

// Message is one WAMP message: a pointer to one of this file's structs.
type Message interface {
	// Type returns the message's code.
	Type() MessageType
}

// Hello opens a session: [HELLO, Realm|uri, Details|dict].
type Hello struct {
	Realm   URI
	Details HelloDetails
}

// Welcome says that the session is open: [WELCOME, Session|id, Details|dict].
type Welcome struct {
	Session ID
	Details WelcomeDetails
}

// Abort ends a session that is not to be, or a peer that broke the protocol: [ABORT, Details|dict, Reason|uri] and
// optionally a payload. It is never answered.
type Abort struct {
	Details CloseDetails
	Reason  URI
	Payload Payload
}

// Challenge asks a client to authenticate: [CHALLENGE, AuthMethod|string, Extra|dict].
type Challenge struct {
	AuthMethod string
	Extra      Raw
}

// Authenticate answers a Challenge: [AUTHENTICATE, Signature|string, Extra|dict].
type Authenticate struct {
	Signature string
	Extra     Raw
}

// Goodbye closes a session, or confirms that: [GOODBYE, Details|dict, Reason|uri].
type Goodbye struct {
	Details CloseDetails
	Reason  URI
}

// ErrorMsg says that a request failed: [ERROR, REQUEST.Type|int, REQUEST.Request|id, Details|dict, Error|uri] and
// optionally a payload.
type ErrorMsg struct {
	RequestType MessageType
	Request     ID
	Details     ErrorDetails
	URI         URI
	Payload     Payload

	pooled bool
}

// Publish asks the broker to send an event to a topic's subscribers: [PUBLISH, Request|id, Options|dict, Topic|uri] and
// optionally a payload.
type Publish struct {
	Request ID
	Options PublishOptions
	Topic   URI
	Payload Payload
}

// Published acknowledges a Publish: [PUBLISHED, PUBLISH.Request|id, Publication|id].
type Published struct {
	Request     ID
	Publication ID
}

// Subscribe asks for a topic's events: [SUBSCRIBE, Request|id, Options|dict, Topic|uri].
type Subscribe struct {
	Request ID
	Options SubscribeOptions
	Topic   URI
}

// Subscribed acknowledges a Subscribe: [SUBSCRIBED, SUBSCRIBE.Request|id, Subscription|id].
type Subscribed struct {
	Request      ID
	Subscription ID
}

// Unsubscribe ends a subscription: [UNSUBSCRIBE, Request|id, SUBSCRIBED.Subscription|id]. A fourth element, which
// Autobahn's clients may send, is ignored.
type Unsubscribe struct {
	Request      ID
	Subscription ID
}

// Unsubscribed acknowledges an Unsubscribe: [UNSUBSCRIBED, UNSUBSCRIBE.Request|id]; or, with Request 0, says that the
// router revoked a subscription: [UNSUBSCRIBED, 0, Details|dict].
type Unsubscribed struct {
	Request ID
	Details RevokedDetails // ID is the subscription's; only with Request 0
}

// Event is a publication as a subscriber gets it: [EVENT, SUBSCRIBED.Subscription|id, PUBLISHED.Publication|id,
// Details|dict] and optionally a payload. All subscribers of a subscription share one Event, and each encoding of it.
type Event struct {
	Subscription ID
	Publication  ID
	Details      EventDetails
	Payload      Payload

	shared  sharedEncodings
	first   *Event // of the same publication; nil: this one
	derived atomic.Pointer[derivation]
}

// Call asks the dealer to have a procedure run: [CALL, Request|id, Options|dict, Procedure|uri] and optionally a payload.
type Call struct {
	Request   ID
	Options   CallOptions
	Procedure URI
	Payload   Payload
}

// Cancel asks the dealer to stop a call: [CANCEL, CALL.Request|id, Options|dict].
type Cancel struct {
	Request ID
	Mode    CancelMode
	Custom  Attributes
}

// Result answers a Call: [RESULT, CALL.Request|id, Details|dict] and optionally a payload.
type Result struct {
	Request ID
	Details ResultDetails
	Payload Payload

	pooled bool
}

// Register offers a procedure: [REGISTER, Request|id, Options|dict, Procedure|uri].
type Register struct {
	Request   ID
	Options   RegisterOptions
	Procedure URI
}

// Registered acknowledges a Register: [REGISTERED, REGISTER.Request|id, Registration|id].
type Registered struct {
	Request      ID
	Registration ID
}

// Unregister ends a registration: [UNREGISTER, Request|id, REGISTERED.Registration|id]. A fourth element, which
// Autobahn's clients may send, is ignored.
type Unregister struct {
	Request      ID
	Registration ID
}

// Unregistered acknowledges an Unregister: [UNREGISTERED, UNREGISTER.Request|id]; or, with Request 0, says that the
// router revoked a registration: [UNREGISTERED, 0, Details|dict].
type Unregistered struct {
	Request ID
	Details RevokedDetails // ID is the registration's; only with Request 0
}

// Invocation is a Call as the callee gets it: [INVOCATION, Request|id, REGISTERED.Registration|id, Details|dict] and
// optionally a payload.
type Invocation struct {
	Request      ID
	Registration ID
	Details      InvocationDetails
	Payload      Payload

	pooled bool
}

// Interrupt asks a callee to stop an invocation: [INTERRUPT, INVOCATION.Request|id, Options|dict].
type Interrupt struct {
	Request ID
	Mode    CancelMode
	Custom  Attributes
}

// Yield answers an Invocation: [YIELD, INVOCATION.Request|id, Options|dict] and optionally a payload.
type Yield struct {
	Request ID
	Options YieldOptions
	Payload Payload
}

// Type returns TypeHello.
func (*Hello) Type() MessageType { return TypeHello }

// Type returns TypeWelcome.
func (*Welcome) Type() MessageType { return TypeWelcome }

// Type returns TypeAbort.
func (*Abort) Type() MessageType { return TypeAbort }

// Type returns TypeChallenge.
func (*Challenge) Type() MessageType { return TypeChallenge }

// Type returns TypeAuthenticate.
func (*Authenticate) Type() MessageType { return TypeAuthenticate }

// Type returns TypeGoodbye.
func (*Goodbye) Type() MessageType { return TypeGoodbye }

// Type returns TypeError.
func (*ErrorMsg) Type() MessageType { return TypeError }

// Type returns TypePublish.
func (*Publish) Type() MessageType { return TypePublish }

// Type returns TypePublished.
func (*Published) Type() MessageType { return TypePublished }

// Type returns TypeSubscribe.
func (*Subscribe) Type() MessageType { return TypeSubscribe }

// Type returns TypeSubscribed.
func (*Subscribed) Type() MessageType { return TypeSubscribed }

// Type returns TypeUnsubscribe.
func (*Unsubscribe) Type() MessageType { return TypeUnsubscribe }

// Type returns TypeUnsubscribed.
func (*Unsubscribed) Type() MessageType { return TypeUnsubscribed }

// Type returns TypeEvent.
func (*Event) Type() MessageType { return TypeEvent }

// Type returns TypeCall.
func (*Call) Type() MessageType { return TypeCall }

// Type returns TypeCancel.
func (*Cancel) Type() MessageType { return TypeCancel }

// Type returns TypeResult.
func (*Result) Type() MessageType { return TypeResult }

// Type returns TypeRegister.
func (*Register) Type() MessageType { return TypeRegister }

// Type returns TypeRegistered.
func (*Registered) Type() MessageType { return TypeRegistered }

// Type returns TypeUnregister.
func (*Unregister) Type() MessageType { return TypeUnregister }

// Type returns TypeUnregistered.
func (*Unregistered) Type() MessageType { return TypeUnregistered }

// Type returns TypeInvocation.
func (*Invocation) Type() MessageType { return TypeInvocation }

// Type returns TypeInterrupt.
func (*Interrupt) Type() MessageType { return TypeInterrupt }

// Type returns TypeYield.
func (*Yield) Type() MessageType { return TypeYield }
