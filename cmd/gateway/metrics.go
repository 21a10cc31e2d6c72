package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

const namespace = "wampgate_"

// metricKind is what a metric is.
type metricKind string

const (
	counter   metricKind = "counter"
	gauge     metricKind = "gauge"
	histogram metricKind = "histogram"
)

// family is a metric. docs/metrics.md is made of these.
type family struct {
	name   string // without the namespace
	kind   metricKind
	help   string
	labels []string
	// read emits the values there are, from a snapshot; nil where a vector counts by itself.
	read func(s *snapshot, emit emit)
}

type emit func(value float64, labels ...string)

// metrics are all that /metrics tells.
type metrics struct {
	registry *prometheus.Registry
	take     func() snapshot // of what the packages count
	inFlight atomic.Int64
	reloaded struct{ well, badly atomic.Int64 }
	stale    atomic.Bool

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	routes    sync.Map // routeKey -> *routeMetrics: a vector is slow to look into

	operations *prometheus.HistogramVec
	listed     map[bridge.Operation]prometheus.Observer // never changed
}

// newMetrics returns metrics that ask take for what the packages count. Procedures and topics that are listed have a label each.
func newMetrics(take func() snapshot, procedures, topics []string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), take: take, listed: map[bridge.Operation]prometheus.Observer{}}
	m.requests = counterVec(requestsTotal)
	m.durations = histogramVec(requestDuration)
	m.operations = histogramVec(operationDuration)
	calls, publications := histogramVec(procedureDuration), histogramVec(topicDuration)
	for _, uri := range procedures {
		m.listed[bridge.Operation{Action: bridge.Calling, URI: wampcore.URI(uri)}] = calls.WithLabelValues(uri)
	}
	for _, uri := range topics {
		m.listed[bridge.Operation{Action: bridge.Publishing, URI: wampcore.URI(uri)}] = publications.WithLabelValues(uri)
	}
	m.registry.MustRegister(
		m, m.requests, m.durations, m.operations, calls, publications,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func counterVec(f family) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: namespace + f.name, Help: f.help}, f.labels)
}

func histogramVec(f family) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: namespace + f.name, Help: f.help,
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
	}, f.labels)
}

// metricsWriteTimeout is how long a client may take to read the metrics.
const metricsWriteTimeout = 10 * time.Second

// handler serves the metrics. They are gathered for one after another, and whole: who does not read them keeps nobody else from them.
func (m *metrics) handler() http.Handler {
	gather := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case turn <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		p := &page{header: w.Header(), status: http.StatusOK}
		gather.ServeHTTP(p, r)
		<-turn
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(metricsWriteTimeout))
		w.WriteHeader(p.status)
		_, _ = w.Write(p.Bytes())
	})
}

// page is an answer that is not sent yet.
type page struct {
	bytes.Buffer

	header http.Header
	status int
}

func (p *page) Header() http.Header { return p.header }

func (p *page) WriteHeader(status int) { p.status = status }

// Describe tells of nothing: the values are checked when they are collected.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect tells what the packages have counted.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	s := m.take()
	s.inFlight, s.reloads, s.failedReloads, s.stale = m.inFlight.Load(), m.reloaded.well.Load(), m.reloaded.badly.Load(), m.stale.Load()
	for _, f := range families() {
		if f.read == nil {
			continue
		}
		desc := prometheus.NewDesc(namespace+f.name, f.help, f.labels, nil)
		kind := prometheus.GaugeValue
		if f.kind == counter {
			kind = prometheus.CounterValue
		}
		f.read(&s, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
		})
	}
	if s.router != nil {
		out <- constHistogram(callDuration, s.router.CallDurations)
	}
}

func constHistogram(f family, d router.Durations) prometheus.Metric {
	buckets := make(map[float64]uint64, len(d.UpTo))
	for bound, n := range d.UpTo {
		buckets[bound.Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(prometheus.NewDesc(namespace+f.name, f.help, f.labels, nil), d.Count, d.Sum.Seconds(), buckets)
}

// reload counts one.
func (m *metrics) reload(err error) {
	m.stale.Store(err != nil)
	if err != nil {
		m.reloaded.badly.Add(1)
		return
	}
	m.reloaded.well.Add(1)
}

// routeKey says whose requests are counted together. All of it is bounded: routes are those of the table.
type routeKey struct {
	route, method string
	status        int
	stream        bool // it has no duration
}

type routeMetrics struct {
	requests  prometheus.Counter
	durations prometheus.Observer // nil for streams
}

// begin counts a request that comes.
func (m *metrics) begin() { m.inFlight.Add(1) }

// answered counts a request that was answered.
func (m *metrics) answered(method string, answer httpapi.Answer) {
	m.inFlight.Add(-1)
	of := m.route(routeKey{answer.Route, knownMethod(method), answer.Status, answer.Stream})
	of.requests.Inc()
	if of.durations != nil {
		of.durations.Observe(answer.Took.Seconds())
	}
}

func (m *metrics) route(key routeKey) *routeMetrics {
	if v, ok := m.routes.Load(key); ok {
		known, _ := v.(*routeMetrics)
		return known
	}
	of := &routeMetrics{requests: m.requests.WithLabelValues(key.route, key.method, strconv.Itoa(key.status))}
	if !key.stream {
		of.durations = m.durations.WithLabelValues(key.route, key.method)
	}
	m.routes.Store(key, of)
	return of
}

// knownMethod bounds what a client can name.
func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
		return method
	}
	return "other"
}

// operationEnded counts something that was asked of the router, or of a hook.
func (m *metrics) operationEnded(op bridge.Operation, took time.Duration, err error) {
	m.operations.WithLabelValues(op.Action.String(), resultOf(err)).Observe(took.Seconds())
	if o := m.listed[op]; o != nil {
		o.Observe(took.Seconds())
	}
}

// resultOf is an error as it stands in metrics, of a bounded number.
func resultOf(err error) string {
	e, ok := errors.AsType[*wampcore.Error](err)
	switch {
	case err == nil:
		return "ok"
	case ok && !e.URI.Reserved():
		return "application_error"
	case ok && namedResults[e.URI]:
		return string(e.URI[strings.LastIndexByte(string(e.URI), '.')+1:])
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, client.ErrDown), errors.Is(err, bridge.ErrDraining):
		return "unavailable"
	default:
		return "other"
	}
}

var namedResults = map[wampcore.URI]bool{ //nolint:gochecknoglobals // a constant table
	wampcore.ErrNoSuchProcedure: true, wampcore.ErrInvalidURI: true, wampcore.ErrInvalidArgument: true,
	wampcore.ErrNotAuthorized: true, wampcore.ErrAuthorizationDenied: true, wampcore.ErrNoSuchRealm: true,
	wampcore.ErrTimeout: true, wampcore.ErrCanceled: true, wampcore.ErrUnavailable: true,
	wampcore.ErrNoAvailableCallee: true, wampcore.ErrRuntime: true, wampcore.ErrPayloadSizeExceeded: true,
}

// build is what is known of the program.
type build struct{ version, revision, goVersion string }

func thisBuild() build {
	b := build{version: buildVersion(), goVersion: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.revision = s.Value
			}
		}
	}
	return b
}
