package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a document. Aliases are counted by what they stand for.
const (
	maxDocument      = 4 << 20
	maxDocumentNodes = 1 << 18
	maxDocumentDepth = 64
)

// document is a YAML file with the places of what is in it.
type document struct {
	name  string
	lines []string
	value any // as encoding/json has it, with json.Number

	spots map[string]spot // by the path, as pointer makes it
	nodes int
}

// spot is where something stands: its key, and its value. Lines and columns begin at 1.
type spot struct{ keyLine, keyColumn, line, column int }

// problem is something wrong with a document.
type problem struct {
	line, column int // 0: nowhere
	path         []string
	message      string
}

// touches reports whether one problem is in, or around, what another is with.
func (p problem) touches(other problem) bool {
	n := min(len(p.path), len(other.path))
	return slices.Equal(p.path[:n], other.path[:n])
}

// newDocument parses a file. Its error has what is wrong with the YAML.
func newDocument(name string, text []byte) (*document, error) {
	d := &document{name: name, lines: strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n"), spots: map[string]spot{}}
	if len(text) > maxDocument {
		return d, fmt.Errorf("%s: it is larger than %d MiB", name, maxDocument>>20)
	}
	if nesting(text) > maxDocumentDepth {
		return d, fmt.Errorf("%s: its brackets are nested too deep", name)
	}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return d, d.syntax(err)
	}
	bodies := slices.DeleteFunc(parsed.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	if len(bodies) > 1 {
		return d, d.render(problem{message: "it has more than one document; want one, without ---"})
	}
	if len(bodies) == 0 || bodies[0].Body.Type() == ast.CommentType || bodies[0].Body.Type() == ast.NullType {
		// Most likely somebody is about to write it, or could not: it would allow what it has forbidden.
		return d, d.render(problem{message: "there is nothing in it; write {} if that is what is meant"})
	}
	r := reader{document: d, anchors: map[string]ast.Node{}}
	d.value = r.read(bodies[0].Body, nil, nil)
	return d, r.failure
}

// nesting returns how deep brackets may be nested, at the most: the parser is recursive.
func nesting(text []byte) int {
	depth, most := 0, 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			// Brackets go on over lines.
		}
	}
	return most
}

// syntax places a parser's error.
func (d *document) syntax(err error) error {
	p := problem{message: "it is no YAML"}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		p.message = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			p.line, p.column = t.Position.Line, t.Position.Column
		}
	}
	if p.line > 0 && p.line <= len(d.lines) && strings.Contains(d.lines[p.line-1], "${") {
		p.message += "; within {…} and […], put ${…} in quotes"
	}
	return d.render(p)
}

// reader turns nodes into values.
type reader struct {
	*document

	anchors map[string]ast.Node
	failure error // the first
}

func (r *reader) fail(n ast.Node, path []string, format string, args ...any) any {
	if r.failure == nil {
		p := problem{path: path, message: fmt.Sprintf(format, args...)}
		if t := n.GetToken(); t != nil && t.Position != nil {
			p.line, p.column = t.Position.Line, t.Position.Column
		}
		r.failure = r.render(p)
	}
	return nil
}

// read returns a node's value, and notes where it stands; key is the one that it has in a mapping, or nil.
func (r *reader) read(n, key ast.Node, path []string) any {
	if r.nodes++; r.nodes > maxDocumentNodes || len(path) > maxDocumentDepth {
		return r.fail(n, nil, "it is too large, or too deep")
	}
	r.note(n, key, path)
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(n.Values, path)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n}, path)
	case *ast.SequenceNode:
		list := []any{}
		for i, v := range n.Values {
			list = append(list, r.read(v, nil, step(path, strconv.Itoa(i))))
		}
		return list
	case *ast.AnchorNode:
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.read(n.Value, key, path)
	case *ast.AliasNode:
		target, ok := r.anchors[n.Value.GetToken().Value]
		if !ok {
			return r.fail(n, path, "there is no anchor of this name before it")
		}
		v := r.read(target, key, path)
		r.note(n, key, path)
		return v
	default:
		return r.scalar(n, path)
	}
}

func (r *reader) scalar(n ast.Node, path []string) any {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode:
		return json.Number(fmt.Sprint(n.Value))
	case *ast.FloatNode:
		return json.Number(strconv.FormatFloat(n.Value, 'g', -1, 64))
	case *ast.BoolNode:
		return n.Value
	case *ast.NullNode:
		return nil
	default:
		return r.fail(n, path, "tags, infinities and the like are not supported")
	}
}

func (r *reader) mapping(values []*ast.MappingValueNode, path []string) any {
	m := map[string]any{}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			return r.fail(v, path, "merge keys (<<) are not supported; aliases of whole values are")
		}
		if t := v.Key.Type(); t == ast.MappingKeyType || t == ast.AnchorType || t == ast.AliasType || t == ast.TagType {
			return r.fail(v, path, "a key has to be a plain text")
		}
		key := v.Key.GetToken().Value
		if _, ok := m[key]; ok {
			return r.fail(v.Key, path, "the key %q is there twice", key)
		}
		m[key] = r.read(v.Value, v.Key, step(path, key))
	}
	return m
}

func (r *reader) note(n, key ast.Node, path []string) {
	var s spot
	if t := n.GetToken(); t != nil && t.Position != nil {
		s.line, s.column = t.Position.Line, t.Position.Column
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		s.line, s.column = m.Values[0].Key.GetToken().Position.Line, m.Values[0].Key.GetToken().Position.Column
	}
	s.keyLine, s.keyColumn = s.line, s.column
	if key != nil {
		s.keyLine, s.keyColumn = key.GetToken().Position.Line, key.GetToken().Position.Column
	}
	r.spots[pointer(path)] = s
}

// step returns a path with one more step, in memory of its own.
func step(path []string, name string) []string { return append(slices.Clip(path), name) }

// pointer makes one text of a path.
func pointer(path []string) string { return strings.Join(path, "\x00") }

// place is somewhere in a document, where problems are reported.
type place struct {
	problems *problems
	path     []string
}

// problems are all that is wrong with a document.
type problems struct {
	doc     *document
	all     []problem
	environ map[string]string // for secrets
	files   []string          // that were read for them
}

// in returns the place of something that this one holds: names of keys and numbers of items.
func (p place) in(steps ...any) place {
	path := slices.Clip(p.path)
	for _, s := range steps {
		path = append(path, fmt.Sprint(s))
	}
	return place{p.problems, path}
}

// bad reports a problem with the value here. Its text must not have secrets.
func (p place) bad(format string, args ...any) {
	s := p.problems.doc.nearest(p.path)
	p.problems.all = append(p.problems.all, problem{s.line, s.column, p.path, fmt.Sprintf(format, args...)})
}

// badKey reports a problem with the key here.
func (p place) badKey(format string, args ...any) {
	s := p.problems.doc.nearest(p.path)
	p.problems.all = append(p.problems.all, problem{s.keyLine, s.keyColumn, p.path, fmt.Sprintf(format, args...)})
}

// nearest returns the spot of a path, or of what would hold it.
func (d *document) nearest(path []string) spot {
	for ; ; path = path[:len(path)-1] {
		if s, ok := d.spots[pointer(path)]; ok || len(path) == 0 {
			return s
		}
	}
}

// err returns everything that is wrong, in the file's order.
func (p *problems) err() error {
	slices.SortStableFunc(p.all, func(a, b problem) int { return 1000*(a.line-b.line) + a.column - b.column })
	errs := make([]error, len(p.all))
	for i, one := range p.all {
		errs[i] = p.doc.render(one)
	}
	return errors.Join(errs...)
}

// around is how many lines are shown before and after one with a problem.
const around = 2

// render makes an error of a problem: where it is, what it is, and the lines around it. Values that may be secrets are not shown.
func (d *document) render(p problem) error {
	var b strings.Builder
	b.WriteString(d.name)
	if p.line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.line, p.column)
	}
	b.WriteString(": ")
	if len(p.path) > 0 {
		b.WriteString(strings.Join(p.path, ".") + ": ")
	}
	b.WriteString(p.message)
	if p.line < 1 || p.line > len(d.lines) {
		return errors.New(b.String())
	}
	for n := max(1, p.line-around); n <= min(len(d.lines), p.line+around); n++ {
		mark := " "
		if n == p.line {
			mark = ">"
		}
		fmt.Fprintf(&b, "\n  %s %4d | %s", mark, n, d.masked(n))
	}
	return errors.New(b.String())
}
