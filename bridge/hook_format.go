package bridge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// cloudEvent is an event as CloudEvents 1.0 has it, in JSON.
type cloudEvent struct {
	SpecVersion     string         `json:"specversion"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Type            wampcore.URI   `json:"type"`
	Time            string         `json:"time"`
	DataContentType string         `json:"datacontenttype"`
	Publisher       string         `json:"wamppublisher,omitempty"`
	AuthID          string         `json:"wampauthid,omitempty"`
	AuthRole        string         `json:"wampauthrole,omitempty"`
	TraceParent     string         `json:"traceparent,omitempty"`
	TraceState      string         `json:"tracestate,omitempty"`
	Data            cloudEventData `json:"data"`
}

type cloudEventData struct {
	Args   json.RawMessage `json:"args,omitempty"`
	Kwargs json.RawMessage `json:"kwargs,omitempty"`
}

// encode returns the message that some events are: one, but for batches.
func (h *hook) encode(items []delivery) *message {
	first := &items[0]
	m := &message{id: strconv.FormatUint(uint64(first.Publication), 10), header: http.Header{}}
	var body any
	kind := "application/json"
	switch h.Format {
	case FormatCloudEvents:
		body, kind = h.cloudEvent(first), "application/cloudevents+json"
	case FormatBinary:
		e := h.cloudEvent(first)
		e.headers(m.header)
		body = e.Data
	case FormatBatch:
		m.id += fmt.Sprintf("-%d-%d", items[len(items)-1].Publication, len(items))
		all := make([]*cloudEvent, len(items))
		for i := range items {
			all[i] = h.cloudEvent(&items[i])
		}
		body, kind = all, "application/cloudevents-batch+json"
	default:
		first.headers(m.header)
		body = first.event
	}
	m.header.Set("Content-Type", kind)
	var err error
	if m.body, err = marshal(body); err != nil { // it was scanned when it came
		m.body = []byte(`{}`)
	}
	return m
}

// headers are those of an event as WAMP has it.
func (d *delivery) headers(h http.Header) {
	setText(h, "Wamp-Topic", string(d.Topic))
	setID(h, "Wamp-Publication", d.Publication)
	setID(h, "Wamp-Publisher", d.Details.Publisher)
	setText(h, "Wamp-Publisher-Authid", d.Details.PublisherAuthID)
	setText(h, "Wamp-Publisher-Authrole", d.Details.PublisherAuthRole)
}

func (h *hook) cloudEvent(d *delivery) *cloudEvent {
	trace := http.Header{}
	traceHeaders(trace, d.trace)
	e := &cloudEvent{
		SpecVersion: "1.0",
		ID:          strconv.FormatUint(uint64(d.Publication), 10),
		Source:      "/realms/" + url.PathEscape(string(h.principal.Realm)),
		Type:        d.Topic,
		Time:        d.at.UTC().Format(time.RFC3339Nano), DataContentType: "application/json",
		AuthID: d.Details.PublisherAuthID, AuthRole: d.Details.PublisherAuthRole,
		TraceParent: trace.Get("Traceparent"), TraceState: trace.Get("Tracestate"),
		Data: cloudEventData{d.Args, d.Kwargs},
	}
	if d.Details.Publisher != 0 {
		e.Publisher = strconv.FormatUint(uint64(d.Details.Publisher), 10)
	}
	return e
}

// headers are the event's attributes in binary mode.
func (e *cloudEvent) headers(h http.Header) {
	for name, v := range map[string]string{
		"Ce-Specversion": e.SpecVersion, "Ce-Id": e.ID, "Ce-Source": e.Source, "Ce-Type": string(e.Type), "Ce-Time": e.Time,
		"Ce-Wamppublisher": e.Publisher, "Ce-Wampauthid": e.AuthID, "Ce-Wampauthrole": e.AuthRole,
		"Ce-Traceparent": e.TraceParent, "Ce-Tracestate": e.TraceState,
	} {
		setText(h, name, v)
	}
}
