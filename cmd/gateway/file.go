package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// file is the configuration file. Its JSON Schema is config.schema.json; a test holds the two together.
//
// A section is a field here, a property in the schema, and a struct in a file of its own (file_realms.go), with a method check that reports
// what the schema cannot find. It is called from file.check, with the section's place for messages. What a section is turned into, the
// Config of the package that does the work, is made by other methods, which do not fail.
type file struct {
	Settings  map[string]any                 `json:"settings"`
	Realms    map[wampcore.URI]*realmSection `json:"realms"`
	Hooks     map[string]*hookSection        `json:"hooks"`
	Listeners []*listenerSection             `json:"listeners"`
	HTTP      *httpSection                   `json:"http"`
	Calls     *callsSection                  `json:"calls"`
	Inbound   map[string]*inboundSection     `json:"inbound"`
	Crossbar  map[string]*crossbarSection    `json:"crossbar"`
	Routes    map[string]*routeSection       `json:"routes"`

	name    string
	files   []string // that were read beside it
	environ []string // that it was read with

	methods []httpapi.Method // made of it by check
	issuers issuers
	rules   *httpapi.Certificates // who certificates are; nil: nobody
}

// watched are the files that a configuration is made of.
func (f *file) watched() []string {
	if f == nil {
		return nil
	}
	return append([]string{f.name}, f.files...)
}

// readFile reads a configuration file. Its error has everything that is wrong with it.
func readFile(name string, environ map[string]string) (*file, error) {
	f, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable("Config"), err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable("Config"), err)
	}
	return parseFile(name, text, environ)
}

// parseFile checks a file against the schema, and then by what each section knows.
func parseFile(name string, text []byte, environ map[string]string) (*file, error) {
	doc, err := newDocument(name, text)
	if err != nil {
		return nil, err
	}
	found := &problems{doc: doc, environ: environ}
	at := place{problems: found}
	fileSchema().check(at)
	wrong := found.all
	data, err := json.Marshal(pruned(doc.value, nil, wrong))
	if err != nil {
		return nil, err
	}
	f := new(file)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	switch err := decoder.Decode(f); {
	case err == nil:
		f.check(at)
	case len(wrong) == 0:
		return nil, fmt.Errorf("%s: the schema lets through what the program cannot read: %w", name, err)
	}
	found.all = append(wrong, slices.DeleteFunc(found.all[len(wrong):], func(p problem) bool { // what only follows
		return slices.ContainsFunc(wrong, func(w problem) bool { return w.touches(p) })
	})...)
	f.name, f.files = name, found.files
	return f, found.err()
}

// check reports what the schema cannot find.
func (f *file) check(at place) {
	for i, l := range f.Listeners {
		if l == nil { // which the schema has refused
			l = new(listenerSection)
			f.Listeners[i] = l
		}
		l.check(at.in("listeners", i))
	}
	for name, realm := range f.Realms {
		if realm == nil { // its name, with nothing below it
			realm = new(realmSection)
			f.Realms[name] = realm
		}
		realm.check(name, at.in("realms", name))
	}
	f.checkDeciders(at)
	for name, hook := range f.Hooks {
		hook.check(at.in("hooks", name))
	}
	f.checkServices(at)
	f.Calls.check(at.in("calls"))
	f.checkHTTP(at)
	f.checkTokens(at)
}

// environment returns the file's settings as variables.
func (f *file) environment() map[string]string {
	vars := map[string]string{}
	for name, value := range f.Settings {
		if list, ok := value.([]any); ok {
			parts := make([]string, len(list))
			for i, v := range list {
				parts[i] = fmt.Sprint(v)
			}
			value = strings.Join(parts, ",")
		}
		if value != nil {
			vars[prefix+strings.ToUpper(name)] = fmt.Sprint(value)
		}
	}
	return vars
}

// addFile reads the configuration file that a variable names, and adds its settings to those of the environment, which win.
func addFile(vars, environ map[string]string) (*file, error) {
	name := vars[variable("Config")]
	if name == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	f, err := readFile(name, environ)
	if err != nil {
		return f, err
	}
	for _, field := range []string{"Listen", "ListenTLS"} {
		own := f.environment()[variable(field)]
		if len(f.Listeners) > 0 && vars[variable(field)]+own != "" {
			return f, fmt.Errorf("%s: the file has listeners; use these, or the setting", variable(field))
		}
	}
	for name, value := range f.environment() {
		if vars[name] == "" {
			vars[name] = value
		}
	}
	return f, f.defaultRealm(vars)
}

// defaultRealm decides which of the realms is the one of paths without a realm.
func (f *file) defaultRealm(vars map[string]string) error {
	name := variable("Realm")
	if len(f.Realms) == 0 {
		return nil
	}
	if vars[name] == "" && f.Realms["realm1"] == nil {
		if len(f.Realms) > 1 {
			return errors.New(name + ": the file has several realms; say by this, or by settings.realm, which one is meant where none is named")
		}
		for realm := range f.Realms {
			vars[name] = string(realm)
		}
	}
	if realm := wampcore.URI(vars[name]); realm != "" && f.Realms[realm] == nil {
		return fmt.Errorf("%s: the file has no realm %q among its realms", name, realm)
	}
	return nil
}

// checkTokens reports realms that take tokens of issuers, or certificates, which there are not.
func (f *file) checkTokens(at place) {
	for name, r := range f.Realms {
		if _, offered := r.Authentication[certificateMethod]; offered && (f.HTTP == nil || len(f.HTTP.Certificates) == 0) {
			at.in("realms", name, "authentication", certificateMethod).badKey("nobody is said to have a certificate; add http.certificates")
		}
		if m := r.Authentication["ticket"]; m != nil && m.JWT && (f.HTTP == nil || len(f.HTTP.JWT) == 0) {
			at.in("realms", name, "authentication", "ticket", "jwt").badKey("there is no issuer of tokens; add it to http.jwt")
		}
	}
}
