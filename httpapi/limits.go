package httpapi

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wampgate/wampgate/bridge"
)

// Limits bound what requests may take. A principal's are its own, then its role's, then Default: zero takes the next one's.
type Limits struct {
	Default    Limit
	Roles      map[string]Limit // by authrole; what anonymous is named by the router does not matter: it is anonymous here
	Principals map[string]Limit // by authid

	// FailureRate and FailureBurst bound the wrong credentials that come from one address, or IPv6 network of 64 bits: whoever has
	// used them up is not heard with any. Default: 1 a second, and 50 at once.
	FailureRate  float64
	FailureBurst int
}

// Limit is what a principal may take, or, of what is anonymous, an address, or IPv6 network of 64 bits. Negative is no bound.
type Limit struct {
	Body    int64   // bytes of a request's body; default Config.MaxBody
	Calls   int     // that are open; default 1000
	Streams int     // that are open; default 1000
	Rate    float64 // requests a second, elements of batches each; default 50 000
	Burst   int     // of them at once; default as many as in a second
}

func (l Limits) withDefaults(maxBody int64) Limits {
	l.Default = l.Default.or(Limit{Body: maxBody, Calls: 1000, Streams: 1000, Rate: 50_000})
	if l.FailureRate == 0 {
		l.FailureRate = 1
	}
	if l.FailureBurst <= 0 {
		l.FailureBurst = 50
	}
	return l
}

// or returns l with what it leaves open taken from o.
func (l Limit) or(o Limit) Limit {
	orElse(&l.Body, o.Body)
	orElse(&l.Calls, o.Calls)
	orElse(&l.Streams, o.Streams)
	if l.Rate == 0 { // a burst goes with its rate
		orElse(&l.Burst, o.Burst)
		l.Rate = o.Rate
	}
	return l
}

func orElse[T int | int64](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

const anonymous = "anonymous"

// of returns a principal's limit.
func (l *Limits) of(p bridge.Principal) Limit {
	role := p.AuthRole
	if role == "" {
		role = anonymous
	}
	limit := l.Roles[role].or(l.Default)
	if p.AuthID != "" {
		limit = l.Principals[p.AuthID].or(limit)
	}
	return limit
}

// limiter returns what holds a rate.
func (l Limit) limiter() (rate.Limit, int) {
	switch {
	case l.Rate < 0:
		return rate.Inf, 0
	case l.Burst > 0:
		return rate.Limit(l.Rate), l.Burst
	default:
		return rate.Limit(l.Rate), int(max(1, min(math.Ceil(l.Rate), 1<<30)))
	}
}

// accountKey is whom an account is of: a principal, in whatever realm, or an address.
type accountKey struct {
	authID, authRole string
	from             netip.Addr
}

// account is what one has used of its limit.
type account struct {
	requests *rate.Limiter

	// Guarded by ledger.mu.
	limit Limit
	open  [others + 1]int
}

// maxAccounts is how many accounts are kept: those that were used last, and those that have something open.
const maxAccounts = 100_000

// ledger has the accounts.
type ledger struct {
	mu       sync.Mutex
	accounts *recent[accountKey, *account]
	failures *recent[netip.Addr, *rate.Limiter] // of addresses that have sent wrong credentials
}

func newLedger() *ledger {
	l := &ledger{accounts: newRecent[accountKey, *account](maxAccounts), failures: newRecent[netip.Addr, *rate.Limiter](maxAccounts)}
	l.accounts.busy = func(a *account) bool { return a.open[calls]+a.open[streams] > 0 }
	return l
}

// account returns the account of a principal. mu is held.
func (l *ledger) account(key accountKey, limit Limit) *account {
	a, ok := l.accounts.get(key)
	if !ok {
		a = &account{requests: rate.NewLimiter(limit.limiter()), limit: limit}
		l.accounts.put(key, a)
	}
	if a.limit != limit {
		every, burst := limit.limiter()
		a.limit = limit
		a.requests.SetLimit(every)
		a.requests.SetBurst(burst)
	}
	return a
}

// admit counts a request, if its sender's limit lets it in. The request is over when release is called.
func (a *api) admit(who *requester, r *http.Request, k kind) (release func(), err error) {
	key := accountKey{authID: who.AuthID, authRole: who.AuthRole}
	if who.AuthRole == "" {
		key = accountKey{from: network(r.RemoteAddr)}
	}
	who.limit = a.limits.Load().of(who.Principal)
	a.ledger.mu.Lock()
	who.account = a.ledger.account(key, who.limit)
	a.ledger.mu.Unlock()
	if wait := spend(who.account.requests, 1); wait > 0 {
		return nil, tooMany(refusedRate, "there were too many requests", wait)
	}
	return a.hold(who, k, 1)
}

// hold counts n more of what is open.
func (a *api) hold(who *requester, k kind, n int) (release func(), err error) {
	most, why := -1, notRefused
	switch k {
	case calls:
		most, why = who.limit.Calls, refusedCalls
	case streams:
		most, why = who.limit.Streams, refusedStreams
	case others:
	}
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	if most >= 0 && who.account.open[k]+n > most {
		return nil, tooMany(why, "there are "+strconv.Itoa(most)+" "+why.String()+" open, which is as many as there may be", time.Second)
	}
	who.account.open[k] += n
	return func() {
		a.ledger.mu.Lock()
		defer a.ledger.mu.Unlock()
		who.account.open[k] -= n
	}, nil
}

// more counts a batch's elements, beside the one that its request is.
func (a *api) more(r *http.Request, elements int) (release func(), err error) {
	who := requesterOf(r)
	if who.account == nil || elements <= 1 {
		return func() {}, nil
	}
	if wait := spend(who.account.requests, elements-1); wait > 0 {
		return nil, tooMany(refusedRate, "there were too many requests", wait)
	}
	return a.hold(who, kindOf(r), elements-1)
}

// spend takes n from what a limiter has, or nothing: then it returns how long to wait. More than it can ever have is all of it.
func spend(l *rate.Limiter, n int) time.Duration {
	if l.Limit() == rate.Inf {
		return 0
	}
	now := time.Now()
	res := l.ReserveN(now, min(n, l.Burst()))
	wait := res.DelayFrom(now)
	if wait > 0 {
		res.CancelAt(now)
	}
	return wait
}

func tooMany(why refusal, detail string, wait time.Duration) *problem {
	p := refuse(http.StatusTooManyRequests, why, detail)
	p.Retriable = true
	p.header = http.Header{"Retry-After": {strconv.Itoa(int(min(math.Ceil(wait.Seconds()), 3600)))}}
	return p
}

// maxBody is how large the body of a request may be.
func (a *api) maxBody(r *http.Request) int64 {
	switch n := requesterOf(r).limit.Body; {
	case n == 0:
		return a.cfg.MaxBody
	case n < 0:
		return math.MaxInt64 - 1
	default:
		return n
	}
}

// heard reports for how long credentials from an address are not listened to, since too many were wrong.
func (a *api) heard(r *http.Request) time.Duration {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	l, ok := a.ledger.failures.get(network(r.RemoteAddr))
	if !ok || l.Tokens() >= 1 {
		return 0
	}
	return time.Duration((1 - l.Tokens()) / float64(l.Limit()) * float64(time.Second))
}

// failed counts wrong credentials.
func (a *api) failed(r *http.Request) {
	limits := a.limits.Load()
	if limits.FailureRate < 0 {
		return
	}
	from := network(r.RemoteAddr)
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	l, ok := a.ledger.failures.get(from)
	if !ok {
		l = rate.NewLimiter(rate.Limit(limits.FailureRate), limits.FailureBurst)
		a.ledger.failures.put(from, l)
	}
	l.Allow()
}
