package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// statusHungUp is what is logged for a request that its client gave up.
const statusHungUp = 499

// outcome says what became of a request that failed.
type outcome string

const (
	notExecuted outcome = "not_executed"
	executed    outcome = "executed"
	unknown     outcome = "unknown"
)

// problem is an error as HTTP tells it. [RFC 9457]
type problem struct {
	Type      string     `json:"type"`
	Title     string     `json:"title"`
	Status    int        `json:"status"`
	Detail    string     `json:"detail,omitempty"`
	WAMP      *wampError `json:"wamp,omitempty"`
	Retriable bool       `json:"retriable"`
	Outcome   outcome    `json:"outcome"`
	RequestID string     `json:"request_id,omitempty"`

	header      http.Header
	refusal     refusal
	application bool // the status of an application's error is to be looked up
}

type wampError struct {
	Error  wampcore.URI    `json:"error"`
	Args   json.RawMessage `json:"args"`
	Kwargs json.RawMessage `json:"kwargs"`
}

// Error returns what the problem is.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, Outcome: notExecuted}
}

// meaning is what a WAMP error is in HTTP.
type meaning struct {
	status    int
	title     string
	retriable bool
	outcome   outcome
}

// meanings is the one table. What is not in it is 500 if it is of wamp.*, else 422: the application's own.
var meanings = map[wampcore.URI]meaning{ //nolint:gochecknoglobals // a constant table
	wampcore.ErrInvalidURI:             {400, "Invalid URI", false, notExecuted},
	wampcore.ErrInvalidArgument:        {400, "Invalid argument", false, notExecuted},
	wampcore.ErrNotAuthorized:          {403, "Not authorized", false, notExecuted},
	wampcore.ErrAuthorizationDenied:    {403, "Not authorized", false, notExecuted},
	wampcore.ErrAuthorizationRequired:  {403, "Not authorized", false, notExecuted},
	wampcore.ErrAuthenticationDenied:   {401, "Authentication denied", false, notExecuted},
	wampcore.ErrAuthenticationRequired: {401, "Authentication required", false, notExecuted},
	wampcore.ErrNoMatchingAuthMethod:   {401, "No matching authentication method", false, notExecuted},
	wampcore.ErrNoSuchPrincipal:        {401, "No such principal", false, notExecuted},
	wampcore.ErrOptionNotAllowed:       {403, "Option not allowed", false, notExecuted},
	wampcore.ErrNoSuchProcedure:        {404, "No such procedure", true, notExecuted},
	wampcore.ErrNoSuchRealm:            {404, "No such realm", false, notExecuted},
	wampcore.ErrNoSuchRegistration:     {404, "No such registration", false, notExecuted},
	wampcore.ErrNoSuchSubscription:     {404, "No such subscription", false, notExecuted},
	wampcore.ErrNoSuchSession:          {404, "No such session", false, notExecuted},
	wampcore.ErrProcedureAlreadyExists: {409, "Procedure already exists", false, notExecuted},
	wampcore.ErrPayloadSizeExceeded:    {413, "Payload too large", false, notExecuted},
	wampcore.ErrFeatureNotSupported:    {501, "Feature not supported", false, notExecuted},
	wampcore.ErrLimitExceeded:          {429, "Too many requests", true, notExecuted},
	wampcore.ErrUnavailable:            {503, "Unavailable", true, notExecuted},
	wampcore.ErrNoAvailableCallee:      {503, "No available callee", true, notExecuted},
	wampcore.CloseSystemShutdown:       {503, "Shutting down", true, unknown},
	wampcore.CloseRealm:                {503, "Realm closed", true, unknown},
	wampcore.CloseKilled:               {503, "Session killed", true, unknown},
	wampcore.ErrCanceled:               {502, "The callee left", true, unknown},
	wampcore.ErrNetworkFailure:         {502, "Network failure", true, unknown},
	wampcore.ErrTimeout:                {504, "Timeout", true, unknown},
	wampcore.ErrAuthorizationFailed:    {500, "Authorization failed", true, notExecuted},
	wampcore.ErrAuthenticationFailed:   {500, "Authentication failed", true, notExecuted},
	wampcore.ErrNoSuchRole:             {500, "No such role", false, notExecuted},
	wampcore.ErrRuntime:                {500, "The procedure failed", false, executed},
}

func meaningOf(uri wampcore.URI) meaning {
	m, ok := meanings[uri]
	switch {
	case ok:
		return m
	case strings.HasPrefix(string(uri), "wamp.error.option_disallowed."):
		return meanings[wampcore.ErrOptionNotAllowed]
	case uri.Reserved():
		return meaning{http.StatusInternalServerError, "Internal error", false, unknown}
	default:
		return meaning{http.StatusUnprocessableEntity, "The procedure answered with an error", false, executed}
	}
}

// asProblem is where an error becomes an answer. What it does not know is ours, and keeps its text to itself.
func asProblem(err error) *problem {
	if e, ok := errors.AsType[*bridge.RefusedError](err); ok {
		p := asProblem(e.Err)
		p.Detail, p.Outcome = e.Where()+p.Detail, notExecuted
		return p
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*bridge.BodyError](err); ok {
		return newProblem(http.StatusBadRequest, e.Detail)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, refusedBody, fmt.Sprintf("the body is larger than the %d bytes that this gateway takes", e.Limit))
	}
	if e, ok := errors.AsType[*bridge.GapError](err); ok {
		return newProblem(http.StatusGone, "the stream cannot go on where it was: "+e.Reason)
	}
	if errors.Is(err, client.ErrDown) { // whatever the reason is
		return wampProblem(&wampcore.Error{URI: wampcore.ErrUnavailable, Message: "there is no session with the router"})
	}
	if e, ok := errors.AsType[*wampcore.Error](err); ok {
		return wampProblem(e).unlessKilled(err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return wampProblem(&wampcore.Error{URI: wampcore.ErrTimeout, Message: lateAnswer})
	case errors.Is(err, context.Canceled):
		p := newProblem(statusHungUp, "the client gave up")
		p.Title, p.Outcome = "Client closed request", unknown
		return p
	case errors.Is(err, bridge.ErrBusy):
		p := wampProblem(&wampcore.Error{URI: wampcore.ErrUnavailable, Message: err.Error()})
		p.refusal = refusedSessions
		return p
	case errors.Is(err, client.ErrSlow):
		p := newProblem(http.StatusServiceUnavailable, "the results came faster than they were read")
		p.Outcome = unknown
		return p
	case errors.Is(err, bridge.ErrDraining):
		p := wampProblem(&wampcore.Error{URI: wampcore.CloseSystemShutdown, Message: err.Error()})
		p.Outcome = notExecuted // it was refused, not cut off
		return p
	case errors.Is(err, client.ErrClosed), errors.Is(err, wampcore.ErrClosed):
		return wampProblem(&wampcore.Error{URI: wampcore.ErrNetworkFailure, Message: "the session with the router was lost before the answer came"})
	default:
		return ownProblem(err)
	}
}

// killed reports whether an error is that a session was ended by an operator, who may give any reason.
func killed(err error) bool {
	g, ok := errors.AsType[*client.GoodbyeError](err)
	if !ok {
		return false
	}
	_, known := meanings[g.Reason.URI]
	return !known || g.Reason.URI == wampcore.CloseKilled
}

// unlessKilled gives the problem of what an operator has ended its meaning, whatever the reason is.
func (p *problem) unlessKilled(err error) *problem {
	if killed(err) {
		m := meanings[wampcore.CloseKilled]
		p.Title, p.Status, p.Retriable, p.Outcome, p.application = m.title, m.status, m.retriable, m.outcome, false
		p.complete()
	}
	return p
}

// ownProblem is the answer to what ended a request here.
func ownProblem(err error) *problem {
	if f, ok := errors.AsType[farewell](err); ok {
		return f.problem()
	}
	return newProblem(http.StatusInternalServerError, "internal error")
}

const lateAnswer = "the deadline passed before the answer came"

// unsaid is the detail of errors that routers and callees answer with without a word.
var unsaid = map[wampcore.URI]string{ //nolint:gochecknoglobals // a constant table
	wampcore.ErrTimeout:                lateAnswer,
	wampcore.ErrCanceled:               "the call was cancelled before the answer came",
	wampcore.ErrProcedureAlreadyExists: "the procedure is registered already, and not to be shared in this way",
	wampcore.ErrNoSuchSession:          "there is no session of this id",
	wampcore.ErrNoSuchRegistration:     "there is no registration of this id",
	wampcore.ErrNoSuchSubscription:     "there is no subscription of this id",
}

func wampProblem(e *wampcore.Error) *problem {
	m := meaningOf(e.URI)
	payload := e.Payload.Transcode(wampcore.JSON)
	p := &problem{
		Title: m.title, Status: m.status, Detail: e.Message, Retriable: m.retriable, Outcome: m.outcome,
		WAMP:   &wampError{Error: e.URI, Args: json.RawMessage("[]"), Kwargs: json.RawMessage("{}")},
		header: http.Header{"Wamp-Error": {string(e.URI)}},
	}
	if len(payload.Args) > 0 {
		p.WAMP.Args = payload.Args
	}
	if len(payload.Kwargs) > 0 {
		p.WAMP.Kwargs = payload.Kwargs
	}
	if p.Detail == "" {
		_ = e.Payload.DecodeArgs(&p.Detail) // the first argument, if it is a text
	}
	if p.Detail == "" {
		p.Detail = unsaid[e.URI]
	}
	if _, known := meanings[e.URI]; !known && !e.URI.Reserved() {
		p.Status = callersStatus(e.Payload, 0)
		if p.application = p.Status == 0; p.application {
			p.Status = m.status
		}
	}
	p.complete()
	return p
}

// complete adds the headers that a status has.
func (p *problem) complete() {
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		p.header.Set("Retry-After", "1")
	case http.StatusUnauthorized:
		p.header.Set("WWW-Authenticate", "Bearer")
	}
}

// callersStatus is the status that the callee asked for, with http_status among its error's kwargs.
func callersStatus(p wampcore.Payload, otherwise int) int {
	var kwargs map[string]any
	if err := p.DecodeKwargs(&kwargs); err != nil {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(stringOf(kwargs["http_status"])))
	if err != nil || n < 400 || n > 599 {
		return otherwise
	}
	return n
}

func stringOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func (p *problem) encode(requestID string) []byte {
	p.Type, p.RequestID = "about:blank", requestID
	b, err := json.Marshal(p)
	if err != nil { // a payload that was scanned before; never the less
		return []byte(`{"type":"about:blank","title":"Internal error","status":500}`)
	}
	return b
}

// write answers with the problem: in JSON, unless the client takes another encoding and not JSON.
func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	p.reply(r).write(w, r)
}

// reply returns the problem as an answer.
func (p *problem) reply(r *http.Request) reply {
	rep := reply{status: p.Status, kind: problemType, body: p.encode(requestID(r)), header: p.header, choice: true}
	if accepts(r, formatJSON.header()[0]) || accepts(r, problemType[0]) {
		return rep
	}
	if c, ok := negotiate(r, noFormat, encodings); ok {
		rep.kind = c.header
		rep.body = bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: rep.body}, c.format.encoding())
	}
	return rep
}
