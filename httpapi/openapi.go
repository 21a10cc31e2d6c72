package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// documents is what the HTTP face says of itself.
type documents struct {
	yaml, json []byte
	base       map[string]json.RawMessage // of the document
}

// newDocuments adds the routes of the configuration to the document.
func newDocuments(text []byte, routes []Route) (d documents, err error) {
	d.yaml = text
	if len(text) == 0 {
		text = []byte("openapi: 3.1.0\ninfo: {title: wampgate, version: '0'}\npaths: {}\n")
	}
	if d.json, err = yaml.YAMLToJSON(text); err != nil {
		return d, fmt.Errorf("the OpenAPI document: %w", err)
	}
	if err = json.Unmarshal(d.json, &d.base); err != nil || len(routes) == 0 {
		return d, err
	}
	var paths map[string]map[string]any
	if err = json.Unmarshal(d.base["paths"], &paths); err != nil {
		return d, err
	}
	describeRoutes(paths, routes)
	if d.base["paths"], err = json.Marshal(paths); err != nil {
		return d, err
	}
	if d.json, err = json.Marshal(d.base); err != nil {
		return d, err
	}
	d.yaml, err = yaml.JSONToYAML(d.json)
	return d, err
}

// object is one of JSON.
type object = map[string]any

func describeRoutes(paths map[string]map[string]any, routes []Route) {
	for i := range routes {
		rt := &routes[i]
		if paths[rt.Path] == nil {
			paths[rt.Path] = object{}
		}
		paths[rt.Path][strings.ToLower(rt.Method)] = rt.describe()
	}
}

// describe is a route as an operation of OpenAPI.
func (rt *Route) describe() object {
	names, _ := rt.parameters() // it was validated
	parameters := []object{}
	for _, name := range names {
		parameters = append(parameters, rt.Params[name].describe(name, "path"))
	}
	for _, name := range slices.Sorted(maps.Keys(rt.Params)) {
		if !slices.Contains(names, name) {
			parameters = append(parameters, rt.Params[name].describe(name, "query"))
		}
	}
	summary := rt.Summary
	if summary == "" {
		summary = "Calls " + string(rt.Procedure)
	}
	responses := object{
		"200":     object{"description": "the result", "content": object{"application/json": object{"schema": object{}}}},
		"default": problemResponse(),
	}
	if rt.Safe {
		responses["304"] = object{"description": "it is as If-None-Match has it"}
	}
	op := object{
		"operationId": strings.ToLower(rt.Method) + strings.NewReplacer("/", "_", "{", "", "}", "").Replace(rt.Path),
		"summary":     summary, "parameters": parameters, "responses": responses, "x-wamp-procedure": rt.Procedure,
	}
	if rt.Method != http.MethodGet && rt.Method != http.MethodDelete {
		schema := object{"type": "object"}
		switch rt.Body {
		case bridge.AsArgs:
			schema = object{"type": "array"}
		case bridge.AsValue:
			schema = object{}
		default:
		}
		op["requestBody"] = object{"content": object{"application/json": object{"schema": schema}}}
	}
	return op
}

func (p Param) describe(name, in string) object {
	kind := p.Type
	if kind == "" {
		kind = ParamString
	}
	schema := object{"type": kind}
	if p.List {
		schema = object{"type": "array", "items": schema}
	}
	d := object{"name": name, "in": in, "required": in == "path" || p.Required, "schema": schema}
	if p.Description != "" {
		d["description"] = p.Description
	}
	return d
}

func problemResponse() object {
	return object{"description": "a problem, RFC 9457", "content": object{
		"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}},
	}}
}

func (a *api) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(a.documents().yaml)
}

// openAPIJSON answers with the document, or with the procedures of a realm that who asks may call.
func (a *api) openAPIJSON(w http.ResponseWriter, r *http.Request) error {
	if err := acceptsJSON(r); err != nil {
		return err
	}
	if !r.URL.Query().Has("realm") {
		writeJSON(w, r, a.documents().json)
		return nil
	}
	ctx, cancel := a.bounded(r)
	defer cancel()
	doc, err := a.live(ctx, a.principal(r))
	if err != nil {
		return err
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	writeJSON(w, r, body)
	return nil
}

// live describes the procedures of a realm.
func (a *api) live(ctx context.Context, p bridge.Principal) (object, error) {
	callable, more, err := a.cfg.Bridge.Callable(ctx, p)
	if err != nil {
		return nil, err
	}
	prefix := "/v1"
	if p.Realm != a.cfg.Realm {
		prefix = "/v1/realms/" + escapePath(string(p.Realm))
	}
	paths := map[string]map[string]any{}
	for i := range callable {
		c := &callable[i]
		path, names := template(c)
		paths[prefix+"/call/"+path] = object{"post": describeProcedure(c, names)}
	}
	var routes []Route
	for _, rt := range a.cfg.Routes {
		if rt.Realm == p.Realm || rt.Realm == "" && p.Realm == a.cfg.Realm {
			routes = append(routes, rt)
		}
	}
	describeRoutes(paths, routes)
	var info object
	var components struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	}
	_ = json.Unmarshal(a.documents().base["info"], &info) // it was parsed as a whole
	if b := a.documents().base["components"]; len(b) > 0 {
		_ = json.Unmarshal(b, &components)
	}
	doc := object{
		"openapi": "3.1.0",
		"info":    object{"title": string(p.Realm), "version": info["version"], "description": "the procedures that you may call in the realm " + string(p.Realm)},
		"paths":   paths,
	}
	if problem, ok := components.Schemas["Problem"]; ok {
		doc["components"] = object{"schemas": object{"Problem": problem}}
	} else {
		doc["components"] = object{"schemas": object{"Problem": object{"type": "object"}}}
	}
	if more {
		doc["x-wamp-more"] = true // there are too many of them for one document
	}
	return doc, nil
}

// template returns the path of a procedure: what a pattern leaves open is a parameter.
func template(c *bridge.Callable) (path string, names []string) {
	if c.Match == "exact" {
		return escapePath(string(c.URI)), nil
	}
	parts := strings.Split(string(c.URI), ".")
	for i, part := range parts {
		if part == "" && (c.Match == "wildcard" || i == len(parts)-1) {
			names = append(names, "part"+strconv.Itoa(i+1))
			parts[i] = "{" + names[len(names)-1] + "}"
		} else {
			parts[i] = escapePath(part)
		}
	}
	if c.Match == "prefix" && len(names) == 0 {
		names = []string{"rest"}
		return strings.Join(parts, ".") + "{rest}", names
	}
	return strings.Join(parts, "."), names
}

// escapePath escapes also what templates are made of.
func escapePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c == '~':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// describeProcedure is a procedure as an operation, with what its definition says of it.
func describeProcedure(c *bridge.Callable, names []string) object {
	var def struct {
		Summary     any             `json:"summary"`
		Description any             `json:"description"`
		Deprecated  any             `json:"deprecated"`
		Args        json.RawMessage `json:"args"`
		Kwargs      json.RawMessage `json:"kwargs"`
		Result      json.RawMessage `json:"result"`
	}
	_ = json.Unmarshal(c.Definition, &def) // what has another form is left out
	result := object{"type": "object", "properties": object{
		"args": listSchema(schemaOf(def.Result)), "kwargs": object{"type": "object"},
	}}
	op := object{
		"operationId": string(c.URI) + ":" + c.Match, "summary": "Calls " + string(c.URI), "x-wamp-procedure": c.URI, "x-wamp-match": c.Match,
		"requestBody": object{"content": object{"application/json": object{"schema": object{
			"type": "object", "additionalProperties": false,
			"properties": object{"args": argsSchema(def.Args), "kwargs": kwargsSchema(def.Kwargs), "options": object{"type": "object"}},
		}}}},
		"responses": object{
			"200":     object{"description": "the result", "content": object{"application/json": object{"schema": result}}},
			"default": problemResponse(),
		},
	}
	parameters := make([]object, len(names))
	for i, name := range names {
		parameters[i] = Param{}.describe(name, "path")
	}
	if len(names) > 0 {
		op["parameters"] = parameters
	}
	if s, ok := def.Summary.(string); ok {
		op["summary"] = s
	}
	if s, ok := def.Description.(string); ok {
		op["description"] = s
	}
	if b, ok := def.Deprecated.(bool); ok {
		op["deprecated"] = b
	}
	return op
}

// schemaOf returns a JSON Schema, any value's if it is none.
func schemaOf(raw json.RawMessage) any {
	if len(raw) > 0 && (raw[0] == '{' || string(raw) == "true" || string(raw) == "false") {
		return raw
	}
	return nil
}

func listSchema(first any) object {
	s := object{"type": "array"}
	if first != nil {
		s["prefixItems"] = []any{first}
	}
	return s
}

// argsSchema is of a list: the schema itself, or those of its elements.
func argsSchema(raw json.RawMessage) any {
	var each []json.RawMessage
	if json.Unmarshal(raw, &each) == nil && each != nil {
		items := make([]any, 0, len(each))
		for _, one := range each {
			if s := schemaOf(one); s != nil {
				items = append(items, s)
			} else {
				items = append(items, true)
			}
		}
		s := object{"type": "array"}
		if len(items) > 0 {
			s["prefixItems"] = items
		}
		return s
	}
	if s := schemaOf(raw); s != nil {
		return s
	}
	return object{"type": "array"}
}

func kwargsSchema(raw json.RawMessage) any {
	if s := schemaOf(raw); s != nil {
		return s
	}
	return object{"type": "object"}
}

// liveRealm is the realm that a request for the document names.
func liveRealm(r *http.Request) wampcore.URI { return wampcore.URI(r.URL.Query().Get("realm")) }

// identifiedIf finds out who a request for the document is from, where that matters.
func (a *api) identifiedIf(next http.Handler) http.Handler {
	known := a.identified(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("realm") {
			known.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
