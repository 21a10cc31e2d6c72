package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// Route has requests of a method and a path be calls of a procedure. What the path and the query have are its kwargs; so are the
// members of a body, unless Body says otherwise.
type Route struct {
	Method    string // GET, POST, PUT, PATCH or DELETE
	Path      string // such as /orders/{id}
	Procedure wampcore.URI
	Realm     wampcore.URI // default: that of Config
	Summary   string

	Params       map[string]Param // of the path and the query, what is said of them; others are texts
	Body         bridge.As        // AsKwargs if it is empty, else AsArgs or AsValue
	Envelope     bool             // the answer is {"args":…,"kwargs":…}, not the first result
	Safe         bool             // of GET: the answer has an ETag, and may be kept
	CacheControl string           // of a safe one; default: private, no-cache
}

// Param is a parameter of a path or a query.
type Param struct {
	Type        ParamType
	List        bool // it may be there several times, and is a list
	Required    bool
	Description string
}

// ParamType is what a parameter's text is turned into. The empty one is a text.
type ParamType string

// The types.
const (
	ParamString  ParamType = "string"
	ParamInteger ParamType = "integer"
	ParamNumber  ParamType = "number"
	ParamBoolean ParamType = "boolean"
)

// reserved are the beginnings of the gateway's own paths, whether or not it has them served.
var reserved = []string{ //nolint:gochecknoglobals // a constant table
	"v1", "ws", "longpoll", "openapi.json", "openapi.yaml", "livez", "readyz", "startupz", "metrics", "loglevel", "debug",
}

// maxRouteSegments is how many parts a route's path may have.
const maxRouteSegments = 32

var (
	routeLiteral = regexp.MustCompile(`^[A-Za-z0-9._~:@!$&'()+,;=-]+$`)
	routeParam   = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)\}$`)
)

// parameters returns the names in a route's path, or what is wrong with it.
func (rt *Route) parameters() ([]string, error) {
	rest, ok := strings.CutPrefix(rt.Path, "/")
	if !ok {
		return nil, errors.New("a path begins with /")
	}
	var names []string
	segments := strings.Split(rest, "/")
	for i, s := range segments {
		m := routeParam.FindStringSubmatch(s)
		switch {
		case i == 0 && slices.Contains(reserved, s):
			return nil, fmt.Errorf("what begins with /%s is the gateway's own", s)
		case i == 0 && m != nil:
			return nil, errors.New("the first part of a path has to be a name: a parameter would stand for the gateway's own paths, too")
		case m != nil && slices.Contains(names, m[1]):
			return nil, fmt.Errorf("the parameter %s is there twice", m[1])
		case m != nil:
			names = append(names, m[1])
		case !routeLiteral.MatchString(s) || s == "." || s == "..":
			return nil, fmt.Errorf("%q is no part of a path; want letters, digits and -._~, or {name}", s)
		}
	}
	if len(segments) > maxRouteSegments {
		return nil, fmt.Errorf("it has more than %d parts", maxRouteSegments)
	}
	return names, nil
}

// Validate says what is wrong with a route.
func (rt *Route) Validate() error {
	names, err := rt.parameters()
	switch {
	case err != nil:
		return err
	case !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, rt.Method):
		return fmt.Errorf("%q is no method; want GET, POST, PUT, PATCH or DELETE", rt.Method)
	case !rt.Procedure.Valid(false):
		return fmt.Errorf("%q is no procedure; want a URI such as com.example.order.get", string(rt.Procedure))
	case rt.Safe && rt.Method != http.MethodGet:
		return errors.New("only GET is safe")
	case rt.CacheControl != "" && !rt.Safe:
		return errors.New("only what is safe may be kept by caches")
	}
	for _, name := range names {
		if rt.Params[name].List {
			return fmt.Errorf("the path has %s once: it is no list", name)
		}
	}
	return nil
}

// shape is a path without the names of its parameters.
func (rt *Route) shape() string {
	segments := strings.Split(rt.Path, "/")
	for i, s := range segments {
		if routeParam.MatchString(s) {
			segments[i] = "{}"
		}
	}
	return rt.Method + " " + strings.Join(segments, "/")
}

// mountRoutes adds the routes of the configuration.
func (a *api) mountRoutes(r chi.Router) error {
	seen := map[string]bool{}
	for i := range a.cfg.Routes {
		rt := &a.cfg.Routes[i]
		if err := rt.Validate(); err != nil {
			return fmt.Errorf("route %s %s: %w", rt.Method, rt.Path, err)
		}
		if _, taken := a.cfg.Crossbar[rt.Path]; taken || seen[rt.shape()] {
			return fmt.Errorf("route %s %s: the path is taken", rt.Method, rt.Path)
		}
		seen[rt.shape()] = true
		names, _ := rt.parameters()
		h := a.handler(func(w http.ResponseWriter, req *http.Request) error { return a.viaRoute(w, req, rt, names) })
		inRealm := r.With(realmOf(func(*http.Request) wampcore.URI { return rt.Realm }), a.admitted, a.identified)
		inRealm.Method(rt.Method, rt.Path, h)
		if rt.Safe {
			inRealm.Method(http.MethodHead, rt.Path, h)
		}
	}
	return nil
}

type realmKey struct{}

// realmOf says in which realm a request is whose path does not.
func realmOf(realm func(*http.Request) wampcore.URI) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if uri := realm(r); uri != "" {
				r = r.WithContext(context.WithValue(r.Context(), realmKey{}, uri))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// viaRoute makes a call of a request.
func (a *api) viaRoute(w http.ResponseWriter, r *http.Request, rt *Route, names []string) error {
	as := wanted{body: bodyFormat(r), value: !rt.Envelope}
	var ok bool
	if as.answer, ok = negotiate(r, as.body, encodings); !ok {
		return newProblem(http.StatusNotAcceptable, "this gateway answers with "+acceptPost)
	}
	kwargs, err := rt.kwargs(r, names)
	if err != nil {
		return err
	}
	var body wampcore.Raw
	if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		if body, err = a.body(w, r, as.body); err != nil {
			return err
		}
	}
	req, err := rt.request(body, kwargs)
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r, 0)
	if err != nil {
		return err
	}
	req.Options.Custom = traced(r, nil)
	call := func(ctx context.Context) (reply, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		payload, err := a.cfg.Bridge.Call(ctx, a.principal(r), rt.Procedure, req)
		if err != nil {
			return reply{}, err
		}
		return as.result(payload), nil
	}
	if !rt.Safe {
		return a.once(w, r, &as, wampcore.Raw{Encoding: wampcore.JSON, Bytes: bridge.EncodeResult(req.Payload)}, call)
	}
	rep, err := call(r.Context())
	if err != nil {
		return err
	}
	rt.tagged(r, rep).write(w, r)
	return nil
}

// tagged adds what caches want to know, and leaves the body out if the client has it.
func (rt *Route) tagged(r *http.Request, rep reply) reply {
	sum := sha256.Sum256(rep.body)
	tag := `W/"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
	rep.header = http.Header{"Etag": {tag}, "Cache-Control": {rt.CacheControl}}
	if rt.CacheControl == "" {
		rep.header.Set("Cache-Control", "private, no-cache")
	}
	rep.header.Set("Vary", "Authorization")
	if matchesTag(r.Header.Values("If-None-Match"), tag) {
		rep.status, rep.body = http.StatusNotModified, nil
	}
	return rep
}

// matchesTag compares weakly. [RFC 9110 13.1.2]
func matchesTag(values []string, tag string) bool {
	for _, value := range values {
		for one := range splitQuoted(value, ',') {
			if one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// kwargs are the parameters of the path and of the query, in JSON.
func (rt *Route) kwargs(r *http.Request, names []string) (map[string]json.RawMessage, error) {
	kwargs := map[string]json.RawMessage{}
	for _, name := range names {
		text, err := param(r, name)
		if err != nil {
			return nil, err
		}
		if kwargs[name], err = rt.Params[name].value(name, []string{string(text)}); err != nil {
			return nil, err
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "the query is not encoded as URLs are: "+err.Error())
	}
	for name, texts := range query {
		if slices.Contains(names, name) {
			return nil, newProblem(http.StatusBadRequest, "the path says already what "+name+" is")
		}
		if kwargs[name], err = rt.Params[name].value(name, texts); err != nil {
			return nil, err
		}
	}
	for name, p := range rt.Params {
		if p.Required && kwargs[name] == nil {
			return nil, newProblem(http.StatusBadRequest, "the query has to say what "+name+" is")
		}
	}
	return kwargs, nil
}

var (
	integerText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	numberText  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
)

// value returns a parameter in JSON. Numbers stay exact.
func (p Param) value(name string, texts []string) (json.RawMessage, error) {
	all := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		if wampcore.Scan(wampcore.JSON, []byte(text)) != nil && p.Type != ParamString && p.Type != "" ||
			p.Type == ParamInteger && !integerText.MatchString(text) || p.Type == ParamNumber && !numberText.MatchString(text) ||
			p.Type == ParamBoolean && text != "true" && text != "false" {
			return nil, newProblem(http.StatusBadRequest, name+" has to be of the type "+string(p.Type))
		}
		all[i] = json.RawMessage(text)
		if p.Type == ParamString || p.Type == "" {
			all[i], _ = json.Marshal(strings.ToValidUTF8(text, "\uFFFD")) // a string: it cannot fail
		}
	}
	switch {
	case p.List:
		return append(append([]byte{'['}, bytes.Join(rawBytes(all), []byte{','})...), ']'), nil
	case len(all) != 1:
		return nil, newProblem(http.StatusBadRequest, name+" is there more than once")
	}
	return all[0], nil
}

func rawBytes(all []json.RawMessage) [][]byte {
	out := make([][]byte, len(all))
	for i := range all {
		out[i] = all[i]
	}
	return out
}

// request is the call of a body and of what the URL has.
func (rt *Route) request(body wampcore.Raw, kwargs map[string]json.RawMessage) (bridge.CallRequest, error) {
	as := rt.Body
	if as == bridge.AsEnvelope {
		as = bridge.AsKwargs
	}
	req, err := bridge.ParseCall(body, as)
	if err != nil {
		return req, err
	}
	p := req.Payload.Transcode(wampcore.JSON)
	p.Encoding = wampcore.JSON
	if len(p.Kwargs) > 0 {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(p.Kwargs, &members); err != nil {
			return req, newProblem(http.StatusBadRequest, "the body is no object")
		}
		for name, v := range members {
			if kwargs[name] != nil {
				return req, newProblem(http.StatusBadRequest, "the URL says already what "+name+" is")
			}
			kwargs[name] = v
		}
	}
	p.Kwargs = nil
	if len(kwargs) > 0 {
		if p.Kwargs, err = json.Marshal(kwargs); err != nil {
			return req, err
		}
	}
	req.Payload = p
	return req, nil
}
