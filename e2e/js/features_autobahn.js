// Tries every advanced feature that Autobahn|JS has, and says "ok name" or "FAIL name: why" of each.
const autobahn = require('autobahn');
const {deepStrictEqual: same} = require('node:assert');

const [url, encoding] = process.argv.slice(2);
const serializers = {json: 'JSONSerializer', msgpack: 'MsgpackSerializer', cbor: 'CBORSerializer'};

// deferred is what Autobahn wants of a promise: it can be told of progress.
function deferred() {
  const d = {told: []};
  d.promise = new Promise((resolve, reject) => Object.assign(d, {resolve, reject}));
  const then = d.promise.then.bind(d.promise);
  d.promise.then = (done, failed, progress) => { if (progress) d.told.push(progress); return then(done, failed); };
  d.notify = (value) => d.told.forEach((f) => f(value));
  return d;
}

function open() {
  return new Promise((resolve, reject) => {
    const connection = new autobahn.Connection({
      transports: [{type: 'websocket', url, serializers: [new autobahn.serializer[serializers[encoding]]()]}],
      realm: 'realm1', max_retries: 0, use_deferred: deferred,
    });
    connection.onopen = (session) => resolve(session);
    connection.onclose = (reason, details) => { reject(reason); if (connection.ended) connection.ended(details); return true; };
    connection.open();
  });
}

// heard returns a handler, and a promise of the next event's arguments, keywords and details.
function heard() {
  let done;
  const next = new Promise((resolve) => { done = resolve; });
  return [(args, kwargs, details) => done({args, kwargs, details}), next];
}

const checks = {
  async 'progressive results'(a, b) {
    await a.register('com.progress', (args, kwargs, details) => {
      for (let i = 1; i <= 3; i++) details.progress([i]);
      return 'done';
    });
    const parts = [];
    const result = await b.call('com.progress', [], {}, {receive_progress: true})
      .then((r) => r, null, (part) => parts.push(part));
    same([parts, result], [[1, 2, 3], 'done']);
  },
  async 'caller and publisher identification'(a, b) {
    await a.register('com.who', (args, kwargs, details) => details.caller);
    same(await b.call('com.who', [], {}, {disclose_me: true}), b.id);
    const [handler, next] = heard();
    await a.subscribe('com.whose', handler);
    await b.publish('com.whose', [], {}, {acknowledge: true, disclose_me: true});
    same((await next).details.publisher, b.id);
  },
  async 'patterns'(a, b) {
    await a.register('com.prefix', (args, kwargs, details) => details.procedure, {match: 'prefix'});
    await a.register('com..wild', (args, kwargs, details) => details.procedure, {match: 'wildcard'});
    same(await b.call('com.prefix.x'), 'com.prefix.x');
    same(await b.call('com.some.wild'), 'com.some.wild');
    const [handler, next] = heard();
    await a.subscribe('com..topic', handler, {match: 'wildcard'});
    await b.publish('com.some.topic', [1], {k: 2}, {acknowledge: true});
    const {args, kwargs, details} = await next;
    same([args, kwargs, details.topic], [[1], {k: 2}, 'com.some.topic']);
  },
  async 'shared registration'(a, b) {
    for (const s of [a, b]) await s.register('com.shared', () => s.id, {invoke: 'roundrobin'});
    const who = [await a.call('com.shared'), await a.call('com.shared'), await a.call('com.shared')];
    same([who[0] === who[1], who[0] === who[2]], [false, true]);
  },
  async 'exclusion and lists'(a, b) {
    const seen = [];
    let last;
    const end = new Promise((resolve) => { last = resolve; });
    await a.subscribe('com.lists', ([x]) => { seen.push(x); if (x === 'end') last(); });
    const publish = (x, options) => a.publish('com.lists', [x], {}, {acknowledge: true, ...options});
    await publish('excluded');
    await publish('mine', {exclude_me: false});
    await b.publish('com.lists', ['no'], {}, {acknowledge: true, exclude: [a.id]});
    await b.publish('com.lists', ['nobody'], {}, {acknowledge: true, eligible: []});
    await b.publish('com.lists', ['role'], {}, {acknowledge: true, eligible_authrole: ['anonymous']});
    await publish('end', {exclude_me: false});
    await end;
    same(seen, ['mine', 'role', 'end']);
  },
  async 'retained events'(a, b) {
    await b.publish('com.retained', ['kept'], {}, {acknowledge: true, retain: true});
    const [handler, next] = heard();
    await a.subscribe('com.retained', handler, {get_retained: true});
    const {args, details} = await next;
    same([args, details.retained], [['kept'], true]);
  },
  async 'meta API'(a, b) {
    same((await a.call('wamp.session.list')).includes(b.id), true);
    same((await a.call('wamp.session.get', [b.id])).session, b.id);
    const registration = await b.register('com.meta', () => 1);
    same(await a.call('wamp.registration.match', ['com.meta']), registration.id);
    same(await a.call('wamp.registration.list_callees', [registration.id]), [b.id]);
    same((await a.call('wamp.registration.get', [registration.id])).uri, 'com.meta');
    const subscription = await b.subscribe('com.meta', () => {});
    same(await a.call('wamp.subscription.count_subscribers', [subscription.id]), 1);
    const [handler, next] = heard();
    await a.subscribe('wamp.subscription.on_unsubscribe', handler);
    await subscription.unsubscribe();
    same((await next).args, [b.id, subscription.id]);
  },
  async 'event history'(a, b) {
    const subscription = await a.subscribe('com.history', () => {});
    for (const n of [1, 2, 3]) await b.publish('com.history', [n], {}, {acknowledge: true});
    const past = await a.call('wamp.subscription.get_events', [subscription.id], {limit: 2, reverse: true});
    same(past.args.map((e) => e.args), [[3], [2]]);
  },
  async 'testaments and killing'(a, b) {
    const other = await open();
    const [will, left] = heard();
    await a.subscribe('com.will', will);
    await other.call('wamp.session.add_testament', ['com.will', ['gone'], {}]);
    await b.call('wamp.session.kill', [other.id], {reason: 'com.example.enough', message: 'bye'});
    same((await left).args, ['gone']);
  },
  async 'errors'(a, b) {
    await a.register('com.fail', () => { throw new autobahn.Error('com.example.failed', [1, 'x'], {k: 'v'}); });
    const e = await b.call('com.fail').then(() => null, (e) => e);
    same([e.error, e.args, e.kwargs], ['com.example.failed', [1, 'x'], {k: 'v'}]);
  },
  async 'reflection'(a, b) {
    await a.call('wamp.reflect.define', ['com.defined', {type: 'procedure', doc: 'text'}]);
    same((await b.call('wamp.reflect.describe', ['com.defined'])).doc, 'text');
  },
};

(async () => {
  const [a, b] = [await open(), await open()];
  for (const [name, check] of Object.entries(checks)) {
    await check(a, b).then(() => console.log(`ok ${name}`), (e) => console.log(`FAIL ${name}: ${e && e.message || JSON.stringify(e)}`));
  }
  console.log('end');
  process.exit(0);
})();
