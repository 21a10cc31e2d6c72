package wampcore

import "time"

// options writes a dict of those options that are set.
type options struct {
	w    *writer
	mark int
	n    int
}

func (w *writer) options() options { return options{w: w, mark: w.open(kindDict)} }

func (o *options) key(key string) {
	o.n++
	o.w.key(key)
}

func (o *options) flag(key string, v bool) {
	if v {
		o.key(key)
		o.w.bool(true)
	}
}

func (o *options) string(key, v string) {
	if v != "" {
		o.key(key)
		o.w.string(v)
	}
}

func (o *options) id(key string, v ID) {
	if v != 0 {
		o.key(key)
		o.w.uint(uint64(v))
	}
}

// timeout is written in milliseconds, rounded up: a short one is not none.
func (o *options) timeout(key string, v time.Duration) {
	if v > 0 {
		o.key(key)
		o.w.uint(uint64((v-1)/time.Millisecond) + 1)
	}
}

func (o *options) level(key string, v *int64) {
	if v != nil {
		o.key(key)
		o.w.int(*v)
	}
}

func (o *options) ids(key string, v []ID) {
	if v != nil {
		o.key(key)
		o.w.list(len(v))
		for _, id := range v {
			o.w.uint(uint64(id))
		}
		o.w.endList()
	}
}

func (o *options) strings(key string, v []string) {
	if v != nil {
		o.key(key)
		o.w.list(len(v))
		for _, s := range v {
			o.w.string(s)
		}
		o.w.endList()
	}
}

func (o *options) raw(key string, v Raw) {
	if len(v.Bytes) > 0 {
		o.key(key)
		o.w.value(v.Encoding, v.Bytes)
	}
}

func (o *options) passthru(p *Passthru) {
	o.string("ppt_scheme", p.Scheme)
	o.string("ppt_serializer", p.Serializer)
	o.string("ppt_cipher", p.Cipher)
	o.string("ppt_keyid", p.KeyID)
}

func (o *options) end(custom Attributes) {
	for _, a := range custom {
		o.raw(a.Key, a.Value)
	}
	o.w.close(kindDict, o.mark, o.n)
}

func (w *writer) roles(o *options, rs *Roles) {
	o.key("roles")
	roles := w.options()
	for r := range Role(numRoles) {
		if !rs.Has(r) {
			continue
		}
		roles.key(r.String())
		role := w.options()
		if rs.features[r] != 0 {
			role.key("features")
			features := w.options()
			for f := range numFeatures {
				features.flag(f.String(), rs.Supports(r, f))
			}
			features.end(nil)
		}
		role.flag("reflection", rs.Reflection(r))
		role.end(nil)
	}
	roles.end(nil)
}

func (w *writer) helloDetails(d *HelloDetails) {
	o := w.options()
	w.roles(&o, &d.Roles)
	o.string("agent", d.Agent)
	o.strings("authmethods", d.AuthMethods)
	o.string("authid", d.AuthID)
	o.raw("authextra", d.AuthExtra)
	o.end(d.Custom)
}

func (w *writer) welcomeDetails(d *WelcomeDetails) {
	o := w.options()
	w.roles(&o, &d.Roles)
	o.string("agent", d.Agent)
	o.string("realm", d.Realm)
	o.string("authid", d.AuthID)
	o.string("authrole", d.AuthRole)
	o.string("authmethod", d.AuthMethod)
	o.string("authprovider", d.AuthProvider)
	o.raw("authextra", d.AuthExtra)
	o.end(d.Custom)
}

func (w *writer) closeDetails(d *CloseDetails) {
	o := w.options()
	o.string("message", d.Message)
	o.string("scram", d.Scram)
	o.end(d.Custom)
}

func (w *writer) errorDetails(d *ErrorDetails) {
	o := w.options()
	o.passthru(&d.Passthru)
	o.end(d.Custom)
}

func (w *writer) publishOptions(p *PublishOptions) {
	o := w.options()
	o.flag("acknowledge", p.Acknowledge)
	if p.IncludeMe {
		o.key("exclude_me")
		w.bool(false)
	}
	o.flag("disclose_me", p.DiscloseMe)
	o.flag("retain", p.Retain)
	o.ids("exclude", p.Exclude)
	o.strings("exclude_authid", p.ExcludeAuthID)
	o.strings("exclude_authrole", p.ExcludeAuthRole)
	o.ids("eligible", p.Eligible)
	o.strings("eligible_authid", p.EligibleAuthID)
	o.strings("eligible_authrole", p.EligibleAuthRole)
	o.string("rkey", p.RKey)
	o.passthru(&p.Passthru)
	o.end(p.Custom)
}

func (w *writer) subscribeOptions(s *SubscribeOptions) {
	o := w.options()
	if s.Match != MatchExact {
		o.string("match", s.Match.String())
	}
	o.flag("get_retained", s.GetRetained)
	o.string("nkey", s.NKey)
	o.end(s.Custom)
}

func (w *writer) eventDetails(d *EventDetails) {
	o := w.options()
	o.string("topic", string(d.Topic))
	o.id("publisher", d.Publisher)
	o.string("publisher_authid", d.PublisherAuthID)
	o.string("publisher_authrole", d.PublisherAuthRole)
	o.level("trustlevel", d.TrustLevel)
	o.flag("retained", d.Retained)
	o.passthru(&d.Passthru)
	o.end(d.Custom)
}

func (w *writer) callOptions(c *CallOptions) {
	o := w.options()
	o.flag("receive_progress", c.ReceiveProgress)
	o.flag("progress", c.Progress)
	o.flag("disclose_me", c.DiscloseMe)
	o.timeout("timeout", c.Timeout)
	o.string("rkey", c.RKey)
	o.string("runmode", c.RunMode)
	o.passthru(&c.Passthru)
	o.end(c.Custom)
}

func (w *writer) registerOptions(r *RegisterOptions) {
	o := w.options()
	if r.Match != MatchExact {
		o.string("match", r.Match.String())
	}
	if r.Invoke != InvokeSingle {
		o.string("invoke", r.Invoke.String())
	}
	o.flag("disclose_caller", r.DiscloseCaller)
	o.flag("forward_timeout", r.ForwardTimeout)
	o.end(r.Custom)
}

func (w *writer) invocationDetails(d *InvocationDetails) {
	o := w.options()
	o.flag("receive_progress", d.ReceiveProgress)
	o.flag("progress", d.Progress)
	o.timeout("timeout", d.Timeout)
	o.id("caller", d.Caller)
	o.string("caller_authid", d.CallerAuthID)
	o.string("caller_authrole", d.CallerAuthRole)
	o.string("procedure", string(d.Procedure))
	o.level("trustlevel", d.TrustLevel)
	o.passthru(&d.Passthru)
	o.end(d.Custom)
}

func (w *writer) yieldOptions(y *YieldOptions) {
	o := w.options()
	o.flag("progress", y.Progress)
	o.passthru(&y.Passthru)
	o.end(y.Custom)
}

func (w *writer) resultDetails(d *ResultDetails) {
	o := w.options()
	o.flag("progress", d.Progress)
	o.passthru(&d.Passthru)
	o.end(d.Custom)
}

// Raw returns the options as the dict that they are in a PUBLISH.
func (o PublishOptions) Raw() Raw {
	w := writer{e: MessagePack}
	w.publishOptions(&o)
	return Raw{Encoding: MessagePack, Bytes: w.b}
}
