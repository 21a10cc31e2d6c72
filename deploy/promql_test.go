package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/util/annotations"
)

var promQL = parser.NewParser(parser.Options{}) //nolint:gochecknoglobals // a constant

// metrics are the labels of each metric that Prometheus has of a gateway.
type metrics map[string][]string

// known are those that docs/metrics.md has, which is made of the code, and some of the process that are the same everywhere.
func known(t *testing.T) metrics {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	target := []string{"instance", "job"} // what Prometheus itself adds
	m := metrics{"up": target, "process_resident_memory_bytes": target, "process_cpu_seconds_total": target, "go_memstats_heap_inuse_bytes": target}
	for _, row := range regexp.MustCompile("(?m)^\\| `(wampgate_[a-z_]+)` \\| ([a-z]+) \\| ([a-z_, ]*) \\|").FindAllStringSubmatch(string(text), -1) {
		name, has := row[1], slices.Clone(target)
		if row[3] != "" {
			has = append(has, strings.Split(row[3], ", ")...)
		}
		if row[2] != "histogram" {
			m[name] = has
			continue
		}
		m[name+"_sum"], m[name+"_count"], m[name+"_bucket"] = has, has, append(slices.Clone(has), labels.BucketLabel)
	}
	if len(m) < 20 {
		t.Fatalf("docs/metrics.md has %v", slices.Sorted(maps.Keys(m)))
	}
	return m
}

// of returns the labels that the result of an expression may have. It fails where a metric, or a label of it, is not there, and where
// the sides of an operator have different labels, so that nothing would ever match.
func (m metrics) of(t *testing.T, e parser.Expr) []string {
	t.Helper()
	switch e := e.(type) {
	case *parser.VectorSelector:
		return m.selected(t, e)
	case *parser.MatrixSelector:
		return m.of(t, e.VectorSelector)
	case *parser.ParenExpr:
		return m.of(t, e.Expr)
	case *parser.AggregateExpr:
		inner := m.of(t, e.Expr)
		for _, label := range e.Grouping {
			if e.Without || !slices.Contains(inner, label) {
				t.Errorf("%s: there is no label %s, but %q", e, label, inner)
			}
		}
		return e.Grouping
	case *parser.Call:
		var all []string
		for _, arg := range e.Args {
			all = append(all, m.of(t, arg)...)
		}
		if e.Func.Name == "histogram_quantile" {
			if !slices.Contains(all, labels.BucketLabel) {
				t.Errorf("%s: the buckets are lost", e)
			}
			all = slices.DeleteFunc(slices.Clone(all), func(l string) bool { return l == labels.BucketLabel })
		}
		return all
	case *parser.BinaryExpr:
		return m.both(t, e)
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil
	}
	t.Errorf("this test knows no %T: %s", e, e)
	return nil
}

func (m metrics) selected(t *testing.T, e *parser.VectorSelector) []string {
	t.Helper()
	has, ok := m[e.Name]
	if !ok {
		t.Errorf("%s: there is no metric %s", e, e.Name)
	}
	for _, matcher := range e.LabelMatchers {
		if matcher.Name != model.MetricNameLabel && !slices.Contains(has, matcher.Name) {
			t.Errorf("%s: there is no label %s, but %q", e, matcher.Name, has)
		}
	}
	return has
}

func (m metrics) both(t *testing.T, e *parser.BinaryExpr) []string {
	t.Helper()
	left, right := m.of(t, e.LHS), m.of(t, e.RHS)
	switch {
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	case e.RHS.Type() == parser.ValueTypeScalar:
		return left
	case e.Op == parser.LOR:
		return slices.Compact(slices.Sorted(slices.Values(slices.Concat(left, right))))
	case len(e.VectorMatching.MatchingLabels) != 0 || !slices.Equal(slices.Sorted(slices.Values(left)), slices.Sorted(slices.Values(right))):
		t.Errorf("%s: one side has %q, the other %q", e, left, right)
	}
	return left
}

// show holds a text for people to the labels that it may show.
func show(t *testing.T, where, text string, pattern *regexp.Regexp, has []string) {
	t.Helper()
	for _, label := range pattern.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(has, label[1]) {
			t.Errorf("%s: %q shows the label %s, of %q", where, text, label[1], has)
		}
	}
}

// panel is a part of a dashboard.
type panel struct {
	Title   string
	Panels  []panel
	Targets []struct{ Expr, LegendFormat string }
}

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	m := known(t)
	text, err := os.ReadFile("grafana/wampgate.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		panel
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "5m", "$__interval", "1m", "$instance", "a")
	shown := 0
	var look func(p panel)
	look = func(p panel) {
		for _, target := range p.Targets {
			shown++
			e, err := promQL.ParseExpr(variables.Replace(target.Expr))
			if err != nil || strings.Contains(e.String(), "$") {
				t.Errorf("%s: %s: %v", p.Title, target.Expr, err)
				continue
			}
			show(t, p.Title, target.LegendFormat, regexp.MustCompile(`\{\{ *([a-z_]+) *\}\}`), m.of(t, e))
		}
		for _, inner := range p.Panels {
			look(inner)
		}
	}
	for _, p := range dashboard.Panels {
		look(p)
	}
	if shown == 0 {
		t.Error("the dashboard shows nothing")
	}
	values := regexp.MustCompile(`"label_values\(([a-z_]+), ([a-z_]+)\)"`)
	for _, q := range values.FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(m[q[1]], q[2]) {
			t.Errorf("%s: there is no such label", q[0])
		}
	}
}

// alerts are the rules, as Prometheus reads them.
func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile("prometheus/alerts.yml", false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	if len(errs) != 0 {
		t.Fatal(errs)
	}
	all := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r
		}
	}
	return all
}

func TestAlertsAskForWhatThereIs(t *testing.T) {
	m := known(t)
	for name, r := range alerts(t) {
		e, err := promQL.ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		has := m.of(t, e)
		for _, text := range r.Annotations {
			show(t, name, text, regexp.MustCompile(`\$labels\.([a-z_]+)`), has)
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
			t.Errorf("%s: got %q, %q", name, r.Labels, r.Annotations)
		}
	}
}

// series are what Prometheus has scraped, once a minute, in the notation of promtool's tests.
type series []string

// areOf fails where the gateway has no such series.
func (s series) areOf(t *testing.T, m metrics) {
	t.Helper()
	for _, text := range s {
		name, _, err := promQL.ParseSeriesDesc(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for label := range name.Map() {
			if label != model.MetricNameLabel && !slices.Contains(m[name.Get(model.MetricNameLabel)], label) {
				t.Errorf("%s: there is no label %s", text, label)
			}
		}
	}
}

// Querier returns all of it: each query selects.
func (s series) Querier(int64, int64) (storage.Querier, error) {
	var all []promql.Series
	for _, text := range s {
		name, values, err := promQL.ParseSeriesDesc(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		one := promql.Series{Metric: name}
		for i, v := range values {
			if !v.Omitted {
				one.Floats = append(one.Floats, promql.FPoint{T: int64(i) * time.Minute.Milliseconds(), F: v.Value})
			}
		}
		all = append(all, one)
	}
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		selected := &set{}
		for _, one := range all {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(one.Metric.Get(m.Name)) }) {
				selected.rest = append(selected.rest, one)
			}
		}
		return selected
	}}, nil
}

// set is some series.
type set struct {
	rest []promql.Series
	at   promql.Series
}

func (s *set) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.at, s.rest = s.rest[0], s.rest[1:]
	return true
}

func (s *set) At() storage.Series                { return promql.NewStorageSeries(s.at) }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// firing evaluates a rule each minute, and returns the summaries of the alerts that fire at the last one.
func firing(t *testing.T, r rulefmt.Rule, s series, last time.Duration) []string {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute, Parser: promQL})
	t.Cleanup(func() { _ = engine.Close() })
	start := time.UnixMilli(0)
	q, err := engine.NewRangeQuery(t.Context(), s, nil, r.Expr, start, start.Add(last), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	matrix, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	summaries := []string{}
	for _, of := range matrix {
		since := last
		for _, at := range slices.Backward(of.Floats) {
			if at.T != since.Milliseconds() {
				break
			}
			since -= time.Minute
		}
		if since += time.Minute; since > last || last-since < time.Duration(r.For) {
			continue
		}
		summaries = append(summaries, summary(t, r, of.Metric, of.Floats[len(of.Floats)-1].F))
	}
	slices.Sort(summaries)
	return summaries
}

func summary(t *testing.T, r rulefmt.Rule, of labels.Labels, value float64) string {
	t.Helper()
	data := template.AlertTemplateData(of.Map(), nil, "", promql.Sample{F: value})
	none := func(context.Context, string, time.Time) (promql.Vector, error) { return nil, nil }
	text := "{{$labels := .Labels}}{{$value := .Value}}" + r.Annotations["summary"]
	said, err := template.NewTemplateExpander(t.Context(), text, r.Alert, data, 0, none, &url.URL{}, nil).Expand()
	if err != nil {
		t.Error(err)
	}
	return said
}
