package wampcore

import (
	"errors"
	"time"
)

// What is kept of the attributes that an implementation adds to one message.
const (
	maxAttributes     = 16
	maxAttributeBytes = 4 << 10
)

// emptyDicts are the empty dict in each encoding.
var emptyDicts = [numEncodings]string{"{}", "\x80", "\xa0"} //nolint:gochecknoglobals // a constant table

var errPolicy = errors.New("is not one of those that there are")

// dict decodes a dict of options or details: each gets those that have a value. Unknown ones are for it to ignore.
func (f *fields) dict(name string, each func(key string, v ref) error) {
	v := f.element()
	if f.err != nil || string(v.b) == emptyDicts[v.e-1] {
		return // by far the most frequent
	}
	err := v.pairs(func(k []byte, v ref) error {
		if v.absent() {
			return nil
		}
		key := f.d.names.intern(k)
		if err := each(key, v); err != nil {
			f.fail(name+"."+key, err)
		}
		return nil
	})
	if err != nil {
		f.fail(name, err)
	}
}

// options is dict for messages that carry implementation-specific attributes along: custom gets them.
func (f *fields) options(name string, custom *Attributes, each func(key string, v ref) error) {
	size := 0
	f.dict(name, func(key string, v ref) error {
		if !isAttribute(key) {
			return each(key, v)
		}
		if size += len(key) + len(v.b); len(*custom) < maxAttributes && size <= maxAttributeBytes {
			*custom = append(*custom, Attribute{Key: key, Value: v.raw()})
		}
		return nil
	})
}

// isAttribute reports whether key is _[a-z0-9_]{3,}. [WAMP messages, extensibility]
func isAttribute(key string) bool {
	if len(key) < 4 || key[0] != '_' {
		return false
	}
	for _, c := range []byte(key) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func setBool(to *bool, v ref) (err error) {
	*to, err = v.bool()
	return err
}

func setID(to *ID, v ref) (err error) {
	*to, err = v.id()
	return err
}

func (f *fields) setString(to *string, v ref) error {
	s, err := v.str()
	if err == nil {
		*to = f.d.names.intern(s)
	}
	return err
}

func (f *fields) setURI(to *URI, v ref) error { return f.setString((*string)(to), v) }

func (f *fields) setStrings(to *[]string, v ref) error {
	*to = []string{} // present, though it may be empty
	return v.elements(func(v ref) error {
		var s string
		err := f.setString(&s, v)
		*to = append(*to, s)
		return err
	})
}

// setIDs keeps those that can be ids: a list may have ids that do not exist.
func setIDs(to *[]ID, v ref) error {
	*to = []ID{}
	return v.elements(func(v ref) error {
		n, err := v.uint()
		if errors.Is(err, errNegative) {
			return nil
		}
		if ID(n).Valid() {
			*to = append(*to, ID(n))
		}
		return err
	})
}

// setTimeout decodes milliseconds, bounded by what a Duration holds.
func setTimeout(to *time.Duration, v ref) error {
	n, err := v.uint()
	*to = time.Duration(min(n, uint64(1<<63-1)/uint64(time.Millisecond))) * time.Millisecond
	return err
}

func setLevel(to **int64, v ref) error {
	n, err := v.uint()
	level := int64(min(n, 1<<62))
	*to = &level
	return err
}

// setPolicy decodes the name of one of n policies.
func setPolicy[P interface {
	~uint8
	String() string
}](to *P, n P, v ref) error {
	s, err := v.str()
	if err != nil {
		return err
	}
	for p := range n {
		if p.String() == string(s) && len(s) > 0 {
			*to = p
			return nil
		}
	}
	return errPolicy
}

func (f *fields) passthru(p *Passthru, key string, v ref) error {
	switch key {
	case "ppt_scheme":
		return f.setString(&p.Scheme, v)
	case "ppt_serializer":
		return f.setString(&p.Serializer, v)
	case "ppt_cipher":
		return f.setString(&p.Cipher, v)
	case "ppt_keyid":
		return f.setString(&p.KeyID, v)
	}
	return nil
}

func (f *fields) helloDetails(d *HelloDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error {
		switch key {
		case "roles":
			return f.roles(&d.Roles, v)
		case "agent":
			return f.setString(&d.Agent, v)
		case "authmethods":
			return f.setStrings(&d.AuthMethods, v)
		case "authid":
			return f.setString(&d.AuthID, v)
		case "authextra":
			d.AuthExtra = v.raw()
		}
		return nil
	})
}

func (f *fields) welcomeDetails(d *WelcomeDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error {
		switch key {
		case "roles":
			return f.roles(&d.Roles, v)
		case "agent":
			return f.setString(&d.Agent, v)
		case "realm":
			return f.setString(&d.Realm, v)
		case "authid":
			return f.setString(&d.AuthID, v)
		case "authrole":
			return f.setString(&d.AuthRole, v)
		case "authmethod":
			return f.setString(&d.AuthMethod, v)
		case "authprovider":
			return f.setString(&d.AuthProvider, v)
		case "authextra":
			d.AuthExtra = v.raw()
		}
		return nil
	})
}

// roles decodes what a peer announces. Roles and features that are not known are ignored.
func (f *fields) roles(rs *Roles, v ref) error {
	return v.pairs(func(name []byte, role ref) error {
		for r := range Role(numRoles) {
			if r.String() == string(name) {
				rs.Add(r)
				return role.pairs(func(key []byte, features ref) error {
					if on, err := features.bool(); string(key) == "reflection" && err == nil && on {
						rs.AddReflection(r)
					}
					if string(key) != "features" || features.absent() {
						return nil
					}
					return features.pairs(func(key []byte, v ref) error { return rs.feature(r, key, v) })
				})
			}
		}
		return nil
	})
}

func (rs *Roles) feature(r Role, key []byte, v ref) error {
	name := string(key)
	if name == "call_cancelling" { // the RFC has both spellings
		name = CallCanceling.String()
	}
	for feature := range numFeatures {
		if feature.String() != name || v.absent() {
			continue
		}
		on, err := v.bool()
		if err != nil {
			return err
		}
		if on {
			rs.Add(r, feature)
		}
	}
	return nil
}

func (f *fields) closeDetails(d *CloseDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error {
		switch key {
		case "message":
			return f.setString(&d.Message, v)
		case "scram":
			return f.setString(&d.Scram, v)
		}
		return nil
	})
}

func (f *fields) errorDetails(d *ErrorDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error { return f.passthru(&d.Passthru, key, v) })
}

func (f *fields) publishOptions(o *PublishOptions) {
	f.options("Options", &o.Custom, func(key string, v ref) error {
		switch key {
		case "acknowledge":
			return setBool(&o.Acknowledge, v)
		case "exclude_me":
			exclude, err := v.bool()
			o.IncludeMe = !exclude
			return err
		case "disclose_me":
			return setBool(&o.DiscloseMe, v)
		case "retain":
			return setBool(&o.Retain, v)
		case "exclude":
			return setIDs(&o.Exclude, v)
		case "exclude_authid":
			return f.setStrings(&o.ExcludeAuthID, v)
		case "exclude_authrole":
			return f.setStrings(&o.ExcludeAuthRole, v)
		case "eligible":
			return setIDs(&o.Eligible, v)
		case "eligible_authid":
			return f.setStrings(&o.EligibleAuthID, v)
		case "eligible_authrole":
			return f.setStrings(&o.EligibleAuthRole, v)
		case "rkey":
			return f.setString(&o.RKey, v)
		default:
			return f.passthru(&o.Passthru, key, v)
		}
	})
}

func (f *fields) subscribeOptions(o *SubscribeOptions) {
	f.options("Options", &o.Custom, func(key string, v ref) error {
		switch key {
		case "match":
			return setPolicy(&o.Match, MatchWildcard+1, v)
		case "get_retained":
			return setBool(&o.GetRetained, v)
		case "nkey":
			return f.setString(&o.NKey, v)
		}
		return nil
	})
}

func (f *fields) eventDetails(d *EventDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error {
		switch key {
		case "topic":
			return f.setURI(&d.Topic, v)
		case "publisher":
			return setID(&d.Publisher, v)
		case "publisher_authid":
			return f.setString(&d.PublisherAuthID, v)
		case "publisher_authrole":
			return f.setString(&d.PublisherAuthRole, v)
		case "trustlevel":
			return setLevel(&d.TrustLevel, v)
		case "retained":
			return setBool(&d.Retained, v)
		default:
			return f.passthru(&d.Passthru, key, v)
		}
	})
}

func (f *fields) callOptions(o *CallOptions) {
	f.options("Options", &o.Custom, func(key string, v ref) error {
		switch key {
		case "receive_progress":
			return setBool(&o.ReceiveProgress, v)
		case "progress":
			return setBool(&o.Progress, v)
		case "disclose_me":
			return setBool(&o.DiscloseMe, v)
		case "timeout":
			return setTimeout(&o.Timeout, v)
		case "rkey":
			return f.setString(&o.RKey, v)
		case "runmode":
			return f.setString(&o.RunMode, v)
		default:
			return f.passthru(&o.Passthru, key, v)
		}
	})
}

func (f *fields) cancelOptions(mode *CancelMode, custom *Attributes) {
	f.options("Options", custom, func(key string, v ref) error {
		if key == "mode" {
			return setPolicy(mode, CancelKillNoWait+1, v)
		}
		return nil
	})
}

func (f *fields) resultDetails(d *ResultDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error {
		if key == "progress" {
			return setBool(&d.Progress, v)
		}
		return f.passthru(&d.Passthru, key, v)
	})
}

func (f *fields) registerOptions(o *RegisterOptions) {
	f.options("Options", &o.Custom, func(key string, v ref) error {
		switch key {
		case "match":
			return setPolicy(&o.Match, MatchWildcard+1, v)
		case "invoke":
			return setPolicy(&o.Invoke, InvokeLeastPending+1, v)
		case "disclose_caller":
			return setBool(&o.DiscloseCaller, v)
		case "forward_timeout":
			return setBool(&o.ForwardTimeout, v)
		}
		return nil
	})
}

func (f *fields) invocationDetails(d *InvocationDetails) {
	f.options("Details", &d.Custom, func(key string, v ref) error {
		switch key {
		case "receive_progress":
			return setBool(&d.ReceiveProgress, v)
		case "progress":
			return setBool(&d.Progress, v)
		case "timeout":
			return setTimeout(&d.Timeout, v)
		case "caller":
			return setID(&d.Caller, v)
		case "caller_authid":
			return f.setString(&d.CallerAuthID, v)
		case "caller_authrole":
			return f.setString(&d.CallerAuthRole, v)
		case "procedure":
			return f.setURI(&d.Procedure, v)
		case "trustlevel":
			return setLevel(&d.TrustLevel, v)
		default:
			return f.passthru(&d.Passthru, key, v)
		}
	})
}

func (f *fields) yieldOptions(o *YieldOptions) {
	f.options("Options", &o.Custom, func(key string, v ref) error {
		if key == "progress" {
			return setBool(&o.Progress, v)
		}
		return f.passthru(&o.Passthru, key, v)
	})
}
