package httpapi

import "container/list"

// recent keeps the entries that were used last, up to a number. It is not for more than one goroutine.
type recent[K comparable, V any] struct {
	max   int
	busy  func(V) bool // such entries are not forgotten if there is another; optional
	order list.List    // of *entry, the one used last in front
	by    map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](n int) *recent[K, V] {
	return &recent[K, V]{max: n, by: map[K]*list.Element{}}
}

func (c *recent[K, V]) get(key K) (v V, ok bool) {
	e := c.by[key]
	if e == nil {
		return v, false
	}
	c.order.MoveToFront(e)
	return valueOf[K, V](e).value, true
}

// put adds an entry, or replaces it.
func (c *recent[K, V]) put(key K, v V) {
	if e := c.by[key]; e != nil {
		valueOf[K, V](e).value = v
		c.order.MoveToFront(e)
		return
	}
	if len(c.by) >= c.max {
		c.forget()
	}
	c.by[key] = c.order.PushFront(&entry[K, V]{key, v})
}

// maxPassed is how many busy entries are passed over to find one that is not.
const maxPassed = 64

func (c *recent[K, V]) forget() {
	oldest := c.order.Back()
	e := oldest
	for i := 0; c.busy != nil && e != nil && i < maxPassed && c.busy(valueOf[K, V](e).value); i++ {
		e = e.Prev()
	}
	if e == nil {
		e = oldest
	}
	c.remove(valueOf[K, V](e).key)
}

func (c *recent[K, V]) remove(key K) {
	if e := c.by[key]; e != nil {
		c.order.Remove(e)
		delete(c.by, key)
	}
}

func (c *recent[K, V]) clear() {
	c.order.Init()
	clear(c.by)
}

func valueOf[K comparable, V any](e *list.Element) *entry[K, V] {
	v, _ := e.Value.(*entry[K, V])
	return v
}
