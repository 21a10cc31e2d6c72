package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// watchEvery is how often files are looked at: a look costs a call of the system for each.
const watchEvery = 2 * time.Second

// watch reads the certificate and the configuration again when their files change, and on SIGHUP, until the gateway stops.
func (g *gateway) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	seen := newSights(g.cfg.File.watched())
	for {
		asked := false
		select {
		case <-g.stopped:
			return
		case <-g.hangup:
			asked = true
		case <-ticker.C:
		}
		for _, certs := range g.certs {
			certs.reload(g.log)
		}
		if g.cfg.File == nil {
			continue
		}
		if changed := seen.look(); changed || asked {
			seen.follow(g.reload())
		}
	}
}

// reload reads the configuration again, and returns the files that it is made of. What is wrong leaves everything as it is.
func (g *gateway) reload() []string {
	cfg, err := loadConfig(g.cfg.File.environ)
	if err == nil && g.router != nil {
		err = g.router.Reconfigure(cfg.realms())
	}
	g.metrics.reload(err)
	if err != nil {
		for _, line := range mistakes(err) {
			g.log.Error().Str("error", line).Msg("the configuration is not good; the old one stays")
		}
		return append(g.cfg.File.watched(), cfg.File.watched()...)
	}
	if face := g.face.Load(); face != nil {
		face.Reconfigure(cfg.httpAuth(), cfg.httpLimits())
	}
	if err := g.hooks.Reconfigure(cfg.hooks()); err != nil {
		g.log.Error().Err(err).Msg("some hooks wait for a restart")
	}
	if names := g.cfg.waiting(&cfg); len(names) > 0 {
		g.log.Warn().Strs("after_restart", names).Msg("some of the configuration waits for a restart")
	}
	g.log.Info().Int("realms", len(cfg.realms())).Msg("configuration reloaded")
	return cfg.File.watched()
}

// mistakes are the messages of an error that joins many.
func mistakes(err error) []string {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		lines := make([]string, 0, len(all.Unwrap()))
		for _, one := range all.Unwrap() {
			lines = append(lines, mistakes(one)...)
		}
		return lines
	}
	return []string{err.Error()}
}

// applied are the settings that count at once when they change. All others wait for a restart.
var applied = []string{ //nolint:gochecknoglobals // a constant
	"Strict", "Operators", "Disclosure", "TrustLevels", "HistoryEvents", "HistoryBytes", "HistoryAge", "AllowAnonymousRemote", "File",
}

// waiting returns the names of what is different in another configuration, and does not count before the next start.
func (c *config) waiting(other *config) []string {
	var names []string
	before, after := reflect.ValueOf(*c), reflect.ValueOf(*other)
	for field, v := range before.Fields() {
		if !slices.Contains(applied, field.Name) && !reflect.DeepEqual(v.Interface(), after.FieldByIndex(field.Index).Interface()) {
			names = append(names, strings.ToLower(strings.TrimPrefix(variable(field.Name), prefix)))
		}
	}
	if c.File != nil && other.File != nil && !reflect.DeepEqual(c.File.Listeners, other.File.Listeners) {
		names = append(names, "listeners")
	}
	if !reflect.DeepEqual(c.inbound(), other.inbound()) {
		names = append(names, "inbound")
	}
	if !reflect.DeepEqual(c.crossbars(), other.crossbars()) {
		names = append(names, "crossbar")
	}
	if !reflect.DeepEqual(c.routes(), other.routes()) {
		names = append(names, "routes")
	}
	return names
}

// sights are what was last seen of files.
type sights struct{ files map[string]sight }

// sight is how a file looks: what tells cheaply that it may have changed, and what tells for sure.
type sight struct {
	info os.FileInfo // nil: it is not there
	hash [sha256.Size]byte
}

func newSights(names []string) *sights {
	s := &sights{}
	s.follow(names)
	return s
}

// follow looks at these files from now on.
func (s *sights) follow(names []string) {
	before := s.files
	s.files = map[string]sight{}
	for _, name := range names {
		if seen, ok := before[name]; ok {
			s.files[name] = seen
		} else {
			s.files[name] = look(name, sight{})
		}
	}
}

// look reports whether one of the files is another one now. A link that leads elsewhere counts, a time alone does not.
func (s *sights) look() bool {
	changed := false
	for name, before := range s.files {
		now := look(name, before)
		changed = changed || now.hash != before.hash
		s.files[name] = now
	}
	return changed
}

// fresh is how young a file's time may be to be no proof that nothing was written since: clocks of file systems are coarse.
const fresh = 2 * watchEvery

func look(name string, before sight) sight {
	info, err := os.Stat(name)
	if err != nil {
		return sight{hash: sha256.Sum256(fmt.Append(nil, err))}
	}
	same := before.info != nil && os.SameFile(info, before.info) && info.Size() == before.info.Size() && info.ModTime().Equal(before.info.ModTime())
	if same && time.Since(info.ModTime()) > fresh || info.Size() > maxDocument {
		return sight{info, before.hash}
	}
	text, err := os.ReadFile(name) //nolint:gosec // the operator names it
	if err != nil {
		text = fmt.Append(nil, err)
	}
	return sight{info, sha256.Sum256(text)}
}
