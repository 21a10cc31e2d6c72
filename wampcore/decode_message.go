package wampcore

// message decodes the rest of the frame. [WAMP messages] For a type and a length, the elements' types are fixed.
func (f *fields) message(code MessageType) Message { //nolint:funlen // a table
	switch code {
	case TypeHello:
		return f.hello()
	case TypeWelcome:
		return f.welcome()
	case TypeAbort:
		return f.abort()
	case TypeChallenge:
		return f.challenge()
	case TypeAuthenticate:
		return f.authenticate()
	case TypeGoodbye:
		return f.goodbye()
	case TypeError:
		return f.errorMsg()
	case TypePublish:
		return f.publish()
	case TypePublished:
		return f.published()
	case TypeSubscribe:
		return f.subscribe()
	case TypeSubscribed:
		return f.subscribed()
	case TypeUnsubscribe:
		return f.unsubscribe()
	case TypeUnsubscribed:
		return f.unsubscribed()
	case TypeEvent:
		return f.event()
	case TypeCall:
		return f.call()
	case TypeCancel:
		return f.cancel()
	case TypeResult:
		return f.result()
	case TypeRegister:
		return f.register()
	case TypeRegistered:
		return f.registered()
	case TypeUnregister:
		return f.unregister()
	case TypeUnregistered:
		return f.unregistered()
	case TypeInvocation:
		return f.invocation()
	case TypeInterrupt:
		return f.interrupt()
	case TypeYield:
		return f.yield()
	default:
		f.err = Violation("no message: there is no type %d", code)
		return nil
	}
}

func (f *fields) hello() Message {
	m := &f.d.hello
	*m = Hello{}
	if f.begin("HELLO", 3, 3) {
		m.Realm = f.uri("Realm")
		f.helloDetails(&m.Details)
	}
	return m
}

func (f *fields) welcome() Message {
	m := &f.d.welcome
	*m = Welcome{}
	if f.begin("WELCOME", 3, 3) {
		m.Session = f.id("Session")
		f.welcomeDetails(&m.Details)
	}
	return m
}

func (f *fields) abort() Message {
	m := &f.d.abort
	*m = Abort{}
	if f.begin("ABORT", 3, 5) {
		f.closeDetails(&m.Details)
		m.Reason = f.uri("Reason")
		f.payload(&m.Payload)
	}
	return m
}

func (f *fields) challenge() Message {
	m := &f.d.challenge
	*m = Challenge{}
	if f.begin("CHALLENGE", 3, 3) {
		m.AuthMethod = f.string("AuthMethod")
		m.Extra = f.raw("Extra")
	}
	return m
}

func (f *fields) authenticate() Message {
	m := &f.d.authenticate
	*m = Authenticate{}
	if f.begin("AUTHENTICATE", 3, 3) {
		m.Signature = f.string("Signature")
		m.Extra = f.raw("Extra")
	}
	return m
}

func (f *fields) goodbye() Message {
	m := &f.d.goodbye
	*m = Goodbye{}
	if f.begin("GOODBYE", 3, 3) {
		f.closeDetails(&m.Details)
		m.Reason = f.uri("Reason")
	}
	return m
}

func (f *fields) errorMsg() Message {
	m := &f.d.errorMsg
	*m = ErrorMsg{}
	if !f.begin("ERROR", 5, 7) {
		return m
	}
	code, err := f.element().uint()
	if err != nil {
		f.fail("REQUEST.Type", err)
	}
	switch m.RequestType = MessageType(min(code, 1<<16-1)); m.RequestType {
	case TypePublish, TypeSubscribe, TypeUnsubscribe, TypeCall, TypeRegister, TypeUnregister, TypeInvocation, TypeYield:
	default:
		f.err = Violation("ERROR: REQUEST.Type %d is no request's", code)
		return m
	}
	m.Request = f.id("REQUEST.Request")
	f.errorDetails(&m.Details)
	m.URI = f.uri("Error")
	f.payload(&m.Payload)
	return m
}

func (f *fields) publish() Message {
	m := &f.d.publish
	*m = Publish{}
	if f.begin("PUBLISH", 4, 6) {
		m.Request = f.id("Request")
		f.publishOptions(&m.Options)
		m.Topic = f.uri("Topic")
		f.payload(&m.Payload)
	}
	return m
}

func (f *fields) published() Message {
	m := &f.d.published
	if f.begin("PUBLISHED", 3, 3) {
		*m = Published{f.id("PUBLISH.Request"), f.id("Publication")}
	}
	return m
}

func (f *fields) subscribe() Message {
	m := &f.d.subscribe
	*m = Subscribe{}
	if f.begin("SUBSCRIBE", 4, 4) {
		m.Request = f.id("Request")
		f.subscribeOptions(&m.Options)
		m.Topic = f.uri("Topic")
	}
	return m
}

func (f *fields) subscribed() Message {
	m := &f.d.subscribed
	if f.begin("SUBSCRIBED", 3, 3) {
		*m = Subscribed{f.id("SUBSCRIBE.Request"), f.id("Subscription")}
	}
	return m
}

func (f *fields) unsubscribe() Message {
	m := &f.d.unsubscribe
	if f.begin("UNSUBSCRIBE", 3, 4) {
		*m = Unsubscribe{f.id("Request"), f.id("SUBSCRIBED.Subscription")}
	}
	return m
}

func (f *fields) unsubscribed() Message {
	m := &f.d.unsubscribed
	*m = Unsubscribed{}
	if f.begin("UNSUBSCRIBED", 2, 3) {
		f.done(&m.Request, &m.Details, "subscription")
	}
	return m
}

func (f *fields) event() Message {
	m := new(Event) // shared by what it is handed to
	if f.begin("EVENT", 4, 6) {
		m.Subscription = f.id("SUBSCRIBED.Subscription")
		m.Publication = f.id("PUBLISHED.Publication")
		f.eventDetails(&m.Details)
		f.payload(&m.Payload)
	}
	return m
}

func (f *fields) call() Message {
	m := &f.d.call
	*m = Call{}
	if f.begin("CALL", 4, 6) {
		m.Request = f.id("Request")
		f.callOptions(&m.Options)
		m.Procedure = f.uri("Procedure")
		f.payload(&m.Payload)
	}
	return m
}

func (f *fields) cancel() Message {
	m := &f.d.cancel
	*m = Cancel{}
	if f.begin("CANCEL", 3, 3) {
		m.Request = f.id("CALL.Request")
		f.cancelOptions(&m.Mode, &m.Custom)
	}
	return m
}

func (f *fields) result() Message {
	m := &f.d.result
	*m = Result{}
	if f.begin("RESULT", 3, 5) {
		m.Request = f.id("CALL.Request")
		f.resultDetails(&m.Details)
		f.payload(&m.Payload)
	}
	return m
}

func (f *fields) register() Message {
	m := &f.d.register
	*m = Register{}
	if f.begin("REGISTER", 4, 4) {
		m.Request = f.id("Request")
		f.registerOptions(&m.Options)
		m.Procedure = f.uri("Procedure")
	}
	return m
}

func (f *fields) registered() Message {
	m := &f.d.registered
	if f.begin("REGISTERED", 3, 3) {
		*m = Registered{f.id("REGISTER.Request"), f.id("Registration")}
	}
	return m
}

func (f *fields) unregister() Message {
	m := &f.d.unregister
	if f.begin("UNREGISTER", 3, 4) {
		*m = Unregister{f.id("Request"), f.id("REGISTERED.Registration")}
	}
	return m
}

func (f *fields) unregistered() Message {
	m := &f.d.unregistered
	*m = Unregistered{}
	if f.begin("UNREGISTERED", 2, 3) {
		f.done(&m.Request, &m.Details, "registration")
	}
	return m
}

func (f *fields) invocation() Message {
	m := &f.d.invocation
	*m = Invocation{}
	if f.begin("INVOCATION", 4, 6) {
		m.Request = f.id("Request")
		m.Registration = f.id("REGISTERED.Registration")
		f.invocationDetails(&m.Details)
		f.payload(&m.Payload)
	}
	return m
}

func (f *fields) interrupt() Message {
	m := &f.d.interrupt
	*m = Interrupt{}
	if f.begin("INTERRUPT", 3, 3) {
		m.Request = f.id("INVOCATION.Request")
		f.cancelOptions(&m.Mode, &m.Custom)
	}
	return m
}

func (f *fields) yield() Message {
	m := &f.d.yield
	*m = Yield{}
	if f.begin("YIELD", 3, 5) {
		m.Request = f.id("INVOCATION.Request")
		f.yieldOptions(&m.Options)
		f.payload(&m.Payload)
	}
	return m
}

// done decodes an acknowledgement, or the router's own decision, which has 0 as its request and says what is gone.
func (f *fields) done(request *ID, details *RevokedDetails, what string) {
	if f.d.frame.n == 2 {
		*request = f.id("Request")
		return
	}
	if n, err := f.element().uint(); err != nil || n != 0 {
		f.fail("Request", errBadID)
		return
	}
	f.dict("Details", func(key string, v ref) (err error) {
		switch key {
		case what:
			details.ID, err = v.id()
		case "reason":
			details.Reason = f.text("Details.reason", v)
		}
		return err
	})
}
