package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// What tickets there are.
const (
	ticketLife    = 30 * time.Second
	maxTickets    = 10_000
	ticketsOfOne  = 100 // of one principal
	ticketKey     = "ticket"
	ticketsNotFor = "a ticket is for GET /v1/subscribe and /ws alone, where browsers cannot send headers: send an Authorization header here"
)

// tickets are what browsers show where they cannot send headers: each once, for a short while, in the realm that it was made in.
type tickets struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*openTicket
	of   map[bridge.Principal]int
}

type openTicket struct {
	requester

	until time.Time
}

func newTickets() *tickets {
	return &tickets{open: map[[sha256.Size]byte]*openTicket{}, of: map[bridge.Principal]int{}}
}

// make returns a new ticket, empty if there are too many.
func (t *tickets) make(who *requester) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= maxTickets || t.of[who.Principal] >= ticketsOfOne {
		t.expire()
	}
	if len(t.open) >= maxTickets || t.of[who.Principal] >= ticketsOfOne {
		return ""
	}
	text := rand.Text()
	t.open[sha256.Sum256([]byte(text))] = &openTicket{
		requester{Principal: who.Principal, expires: who.expires, source: withoutBody(who.source), judged: who.judged}, time.Now().Add(ticketLife),
	}
	t.of[who.Principal]++
	return text
}

// withoutBody is what of a request its credentials are in.
func withoutBody(r *http.Request) *http.Request {
	return (&http.Request{
		Method: r.Method, URL: &url.URL{}, Host: r.Host, Header: r.Header.Clone(), TLS: r.TLS, RemoteAddr: r.RemoteAddr,
	}).WithContext(context.Background())
}

// take returns whose ticket it is, nil if it is nobody's. It is good for nothing from now on.
func (t *tickets) take(text string) *requester {
	key := sha256.Sum256([]byte(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	ticket := t.open[key]
	if ticket == nil {
		return nil
	}
	t.remove(key)
	now := time.Now()
	if !now.Before(ticket.until) || !ticket.expires.IsZero() && !now.Before(ticket.expires) {
		return nil
	}
	return &ticket.requester
}

// expire forgets what is too old. mu is held.
func (t *tickets) expire() {
	for key, ticket := range t.open {
		if !time.Now().Before(ticket.until) {
			t.remove(key)
		}
	}
}

// remove is called with mu held.
func (t *tickets) remove(key [sha256.Size]byte) {
	p := t.open[key].Principal
	delete(t.open, key)
	if t.of[p]--; t.of[p] == 0 {
		delete(t.of, p)
	}
}

// retain forgets the tickets that keep, which may take its time, does not keep.
func (t *tickets) retain(keep func(*requester) bool) {
	t.mu.Lock()
	all := maps.Clone(t.open)
	t.mu.Unlock()
	for key, ticket := range all {
		if keep(&ticket.requester) {
			continue
		}
		t.mu.Lock()
		if t.open[key] != nil {
			t.remove(key)
		}
		t.mu.Unlock()
	}
}

// ticket makes a ticket for who asks.
func (a *api) ticket(w http.ResponseWriter, r *http.Request) error {
	who := requesterOf(r)
	if who.AuthRole == "" {
		return a.unauthorized(r, refusedAnonymous, "a ticket is for somebody: "+a.teach())
	}
	text := a.tickets.make(who)
	if text == "" {
		return tooMany(refusedTickets, "there are too many tickets that nobody has used", ticketLife)
	}
	life := ticketLife
	if !who.expires.IsZero() {
		life = min(life, time.Until(who.expires))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(`{"ticket":"` + text + `","expires_in":` + strconv.Itoa(max(1, int(life.Seconds()))) + `}`))
	return nil
}

// secretKeys are names under which clients of other services put secrets into addresses.
var secretKeys = []string{ //nolint:gochecknoglobals // a constant table
	"access_token", "token", "id_token", "jwt", "bearer", "authorization", "api_key", "apikey", "x-api-key", "password",
}

// ticketOf takes the ticket out of a request's query, which has to be one, if it may have one there. Nothing else that is secret may stand in a query:
// it would be found in histories and in the logs of proxies.
func ticketOf(r *http.Request, allowed bool) (string, error) {
	if r.URL.RawQuery == "" {
		return "", nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // what is left out of it, such as a cursor, would be missed by nobody
		return "", refuse(http.StatusBadRequest, refusedQuery, "the query is not encoded as URLs are: "+err.Error())
	}
	for name := range q {
		if slices.Contains(secretKeys, strings.ToLower(name)) {
			return "", refuse(http.StatusBadRequest, refusedQuery, "a query may not have "+name+", since others read addresses: send an Authorization "+
				"header, or, where a browser cannot, a ticket of POST /v1/ticket")
		}
	}
	all, ok := q[ticketKey]
	switch {
	case !ok:
		return "", nil
	case !allowed:
		return "", refuse(http.StatusBadRequest, refusedQuery, ticketsNotFor)
	case len(all) > 1:
		return "", refuse(http.StatusBadRequest, refusedQuery, "there is more than one ticket")
	case sentCredentials(r) > 0:
		return "", refuse(http.StatusBadRequest, refusedQuery, "send a ticket or an Authorization header, not both")
	}
	delete(q, ticketKey)
	r.URL.RawQuery = q.Encode() // nobody behind sees it
	r.RequestURI = ""
	if all[0] == "" {
		return "-", nil // it is nobody's
	}
	return all[0], nil
}

// redeem returns who has made a ticket.
func (a *api) redeem(r *http.Request, ticket string, realm wampcore.URI) (*requester, error) {
	if wait := a.heard(r); wait > 0 {
		return nil, tooMany(refusedFailures, "too many wrong credentials came from this address", wait)
	}
	who := a.tickets.take(ticket)
	switch {
	case who == nil:
		a.failed(r)
		return nil, a.unauthorized(r, refusedTicket, "the ticket was used, is older than 30 seconds, or never was one: get another by POST /v1/ticket")
	case realm != "" && who.Realm != realm:
		return nil, refuse(http.StatusForbidden, refusedRealm, "the ticket is not for the realm "+string(realm))
	}
	return who, nil
}

type voucherKey struct{}

// Voucher is for a WebSocket that was opened with a ticket: its session is of the principal that made that, in that realm alone. Other
// WebSockets say in HELLO who they are.
type Voucher struct {
	Principal bridge.Principal
	Until     context.Context // ends with the credentials that the ticket was made with
	Over      func()          // is to be called when the session is over

	taken bool
}

// Vouched returns a request's voucher, nil if it has none. Who gets it calls Over.
func Vouched(ctx context.Context) *Voucher {
	v, _ := ctx.Value(voucherKey{}).(*Voucher)
	if v != nil {
		v.taken = true
	}
	return v
}

// webSocket passes a WebSocket on, with who it is from if it has a ticket.
func (a *api) webSocket(w http.ResponseWriter, r *http.Request) error {
	if !a.trusts(r) {
		return a.foreign(w, r)
	}
	ticket, err := ticketOf(r, true)
	if err != nil {
		return err
	}
	if ticket == "" {
		a.cfg.WebSocket.ServeHTTP(w, r)
		return nil
	}
	who, err := a.redeem(r, ticket, "")
	if err != nil {
		return err
	}
	until := a.lasting(context.Background(), who) //nolint:contextcheck // the session outlives the request, and is to keep nothing of it
	v := &Voucher{Principal: who.Principal, Until: until, Over: func() { a.watched.remove(who) }}
	defer func() {
		if !v.taken {
			v.Over()
		}
	}()
	a.cfg.WebSocket.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), voucherKey{}, v)))
	return nil
}
