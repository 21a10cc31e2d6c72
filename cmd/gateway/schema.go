package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed config.schema.json
var schemaText []byte

const schemaURL = "https://github.com/wampgate/wampgate/cmd/gateway/config.schema.json"

// schema is the JSON Schema of the configuration file.
type schema struct {
	compiled *jsonschema.Schema
	raw      any
	open     map[string]bool // names of keys whose values may be shown; false: they are secrets
}

// fileSchema is made once: that takes some milliseconds.
var fileSchema = sync.OnceValue(func() *schema { //nolint:gochecknoglobals // a constant
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaURL, raw); err != nil {
		panic(err)
	}
	s := &schema{compiled: c.MustCompile(schemaURL), raw: raw, open: map[string]bool{}}
	s.learn(raw)
	return s
})

// learn notes the names of all keys. One that is a secret anywhere is one everywhere.
func (s *schema) learn(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			s.learn(one)
		}
	case map[string]any:
		if properties, ok := v["properties"].(map[string]any); ok {
			for name, p := range properties {
				about, _ := p.(map[string]any)
				before, known := s.open[name]
				s.open[name] = about["writeOnly"] != true && (before || !known)
			}
		}
		for _, one := range v {
			s.learn(one)
		}
	}
}

// at returns the part of the schema that an error tells of.
func (s *schema) at(url string) map[string]any {
	_, fragment, _ := strings.Cut(url, "#")
	v := s.raw
	for name := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
		m, _ := v.(map[string]any)
		if name != "" {
			v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
		}
	}
	m, _ := v.(map[string]any)
	return m
}

// shown reports whether the value at a path may be told.
func (s *schema) shown(path []string) bool {
	last := false
	for _, name := range path {
		switch open, known := s.open[name]; {
		case known && !open:
			return false
		case known:
			last = true
		case strings.Trim(name, "0123456789") != "":
			last = false
		}
	}
	return last
}

// check reports what the schema finds wrong with a document.
func (s *schema) check(at place) {
	err := s.compiled.Validate(at.problems.doc.value)
	if e, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		s.explain(at, e)
	} else if err != nil {
		at.bad("%v", err)
	}
}

// pruned returns a value without what is wrong in it, so that the rest can be looked at.
func pruned(v any, path []string, wrong []problem) any {
	is := func(path []string) bool {
		return slices.ContainsFunc(wrong, func(p problem) bool { return slices.Equal(p.path, path) })
	}
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, one := range v {
			if at := step(path, name); !is(at) {
				m[name] = pruned(one, at, wrong)
			}
		}
		return m
	case []any:
		list := make([]any, len(v)) // items keep their numbers
		for i, one := range v {
			if at := step(path, strconv.Itoa(i)); !is(at) {
				list[i] = pruned(one, at, wrong)
			}
		}
		return list
	default:
		return v
	}
}

// explain reports an error, or those that it consists of.
func (s *schema) explain(at place, e *jsonschema.ValidationError) {
	about := s.at(e.SchemaURL)
	for _, cause := range e.Causes {
		s.explain(at, cause)
	}
	if len(e.Causes) > 0 {
		return
	}
	for _, name := range e.InstanceLocation {
		at = at.in(name)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		properties, _ := about["properties"].(map[string]any)
		for _, name := range k.Properties {
			at.in(name).badKey("there is no such key; %s", suggest(name, slices.Sorted(maps.Keys(properties))))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			at.badKey("%q is missing", name)
		}
	case *kind.Type:
		at.bad("%s", typeMistake(k, about))
	case *kind.Enum:
		at.bad("%s", s.enumMistake(at, k))
	case *kind.Pattern:
		at.bad("%swant %v", s.got(at, k.Got), about["description"])
	default:
		at.bad("%s", e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	}
}

func (s *schema) got(at place, v any) string {
	if !s.shown(at.path) {
		return "it does not fit; "
	}
	return fmt.Sprintf("%q does not fit; ", fmt.Sprint(v))
}

func (s *schema) enumMistake(at place, k *kind.Enum) string {
	want := make([]string, len(k.Want))
	for i, w := range k.Want {
		want[i] = fmt.Sprint(w)
	}
	if !s.shown(at.path) {
		return "want one of " + strings.Join(want, ", ")
	}
	return fmt.Sprintf("%q is not known; %s", fmt.Sprint(k.Got), suggest(fmt.Sprint(k.Got), want))
}

func typeMistake(k *kind.Type, about map[string]any) string {
	names := map[string]string{
		"object": "a mapping (key: value)", "array": "a list (- item)", "string": "a text", "boolean": "true or false",
		"null": "nothing", "integer": "a whole number", "number": "a number",
	}
	want := make([]string, len(k.Want))
	for i, w := range k.Want {
		want[i] = names[w]
	}
	text := fmt.Sprintf("got %s, want %s", names[k.Got], strings.Join(want, ", or "))
	if items, ok := about["items"].(map[string]any); ok && slices.Contains(k.Want, "array") {
		if of, ok := items["enum"].([]any); ok {
			text += " of " + strings.Trim(strings.ReplaceAll(fmt.Sprint(of), " ", ", "), "[]")
		}
	}
	if slices.Contains(k.Want, "string") && slices.Contains([]string{"number", "integer", "boolean"}, k.Got) {
		text += "; put it in quotes"
	}
	if d, ok := about["description"].(string); ok {
		text += ": " + d
	}
	return text
}

// suggest names the known text that is nearest to a wrong one, or all if none is near.
func suggest(name string, known []string) string {
	best := slices.MinFunc(append(known, ""), func(a, b string) int { return distance(name, a) - distance(name, b) })
	if best != "" && distance(name, best) <= 1+len(name)/3 {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "want one of " + strings.Join(known, ", ")
}

// keyLine is a line with a key and its value.
var keyLine = regexp.MustCompile(`^(\s*(?:- +)*)(["']?)([^\s"'{}\[\]#:,][^"'{}#:,]*)["']?:(?:\s+(.*))?$`)

// hidden stands for what is not shown.
const hidden = "…"

// masked returns a line, without what may be a secret: only values of keys that the schema knows as none are shown.
func (d *document) masked(n int) string {
	line := d.lines[n-1]
	text := strings.TrimSpace(line)
	if text == "" || text == "-" {
		return line
	}
	if strings.HasPrefix(text, "#") {
		return line[:strings.Index(line, "#")] + "# " + hidden
	}
	m := keyLine.FindStringSubmatch(line)
	switch {
	case m == nil && (strings.ContainsAny(line, "{}") || !d.shownUnder(n)):
		indent := len(line) - len(strings.TrimLeft(line, " -"))
		return line[:indent] + hidden
	case m == nil:
		return line
	case m[4] == "" || !strings.ContainsAny(m[4], "{}#") && fileSchema().open[m[3]] && d.shownUnder(n):
		return line
	default:
		return line[:len(line)-len(m[4])] + hidden
	}
}

// shownUnder reports whether none of the keys that a line belongs to is a secret, and the value of the nearest may be shown where
// the line has no key of its own.
func (d *document) shownUnder(n int) bool {
	s := fileSchema()
	indent := indentation(d.lines[n-1])
	nearest := keyLine.MatchString(d.lines[n-1])
	for i := n - 1; i > 0; i-- {
		m := keyLine.FindStringSubmatch(d.lines[i-1])
		if m == nil || len(m[1]) > indent || len(m[1]) == indent && nearest {
			continue
		}
		open, known := s.open[m[3]]
		if known && !open || !nearest && !open {
			return false
		}
		nearest, indent = true, len(m[1])
	}
	return true
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
