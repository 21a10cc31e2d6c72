package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// levels is what is logged, which can be changed while the gateway runs. zerolog's global level is the one that all loggers heed.
type levels struct {
	log zerolog.Logger

	mu    sync.Mutex
	cycle []zerolog.Level // what a signal goes through, from the configured one
}

func newLevels(configured zerolog.Level, log zerolog.Logger) *levels {
	zerolog.SetGlobalLevel(configured)
	l := &levels{log: log, cycle: []zerolog.Level{configured}}
	for _, level := range []zerolog.Level{zerolog.DebugLevel, zerolog.TraceLevel} {
		if level != configured {
			l.cycle = append(l.cycle, level)
		}
	}
	return l
}

// set changes the level, and says so whatever it is: but for off.
func (l *levels) set(level zerolog.Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	zerolog.SetGlobalLevel(level)
	l.log.Log().Str("to", levelName(level)).Msg("log level changed")
}

// next goes on to the next level of the cycle.
func (l *levels) next() {
	at := 0
	for i, level := range l.cycle {
		if level == zerolog.GlobalLevel() {
			at = i + 1
		}
	}
	l.set(l.cycle[at%len(l.cycle)])
}

// watch goes on by one level with every signal, until done is closed.
func (l *levels) watch(signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-signals:
			l.next()
		case <-done:
			return
		}
	}
}

// levelNames are the levels by the names that people expect.
func levelNames() map[string]zerolog.Level {
	return map[string]zerolog.Level{
		"trace": zerolog.TraceLevel, "debug": zerolog.DebugLevel, "info": zerolog.InfoLevel,
		"warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel, "off": zerolog.Disabled,
	}
}

func levelName(level zerolog.Level) string {
	for name, l := range levelNames() {
		if l == level {
			return name
		}
	}
	return level.String()
}

// maxLevelName bounds the body of a request for another level.
const maxLevelName = 64

// ServeHTTP tells the level, or sets the one that the body names.
func (l *levels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		var level logLevel
		name, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevelName))
		if err == nil {
			err = level.UnmarshalText([]byte(strings.TrimSpace(string(name))))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.set(zerolog.Level(level))
	}
	_, _ = fmt.Fprintln(w, levelName(zerolog.GlobalLevel()))
}
