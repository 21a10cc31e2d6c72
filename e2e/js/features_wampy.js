// Tries every advanced feature that wampy has, and says "ok name" or "FAIL name: why" of each.
// As a callee it announces no progressive results, as a caller no progressive invocations; it drops exclude_me: false,
// retain and the reason of a GOODBYE. Hence what others do of these is tried with Autobahn, or with a testament.
const autobahn = require('autobahn');
const {Wampy} = require('wampy');
const WebSocket = require('ws');
const {deepStrictEqual: same} = require('node:assert');

const [url, realm, encoding] = process.argv.slice(2);
const load = {
  json: () => require('wampy/JsonSerializer.js').JsonSerializer,
  msgpack: () => require('wampy/MsgpackSerializer.js').MsgpackSerializer,
  cbor: () => require('wampy/CborSerializer.js').CborSerializer,
};
const serializer = (as) => new (load[as]())();
const sessions = []; // of the check that runs

function deferred() {
  const d = {};
  d.promise = new Promise((resolve, reject) => Object.assign(d, {resolve, reject}));
  return d;
}

// open joins the realm. session.ended resolves when the session is over.
async function open(as = encoding) {
  const ended = deferred();
  const session = new Wampy(url, {
    realm, ws: WebSocket, serializer: serializer(as), autoReconnect: false, onClose: ended.resolve,
    payloadSerializers: {json: serializer('json'), cbor: serializer('cbor')},
  });
  const {authid} = await session.connect();
  sessions.push(session);
  return Object.assign(session, {id: Number(session.getSessionId()), authid, ended: ended.promise});
}

// plain has numbers where wampy has BigInts, which it makes of all integers of 64 bits.
const plain = (v) => v && JSON.parse(JSON.stringify(v, (k, x) => (typeof x === 'bigint' ? Number(x) : x)));
const all = async (call) => plain((await call).argsList);
const first = async (call) => (await all(call))[0];
const fails = (call) => call.then((r) => { throw new Error(`it did not fail: ${JSON.stringify(plain(r))}`); }, (e) => e);
const never = () => new Promise(() => {});
const says = (word) => ({details}) => ({argsList: [word, details.procedure]});

// heard returns a handler, and a promise of the next event.
function heard() {
  const next = deferred();
  return [({details, argsList, argsDict}) => next.resolve({details, args: plain(argsList), kwargs: plain(argsDict)}), next.promise];
}

// hears subscribes, and returns a function that gives the first arguments of all events there were, at the event "end".
async function hears(session, topic) {
  const seen = [];
  const end = deferred();
  await session.subscribe(topic, ({argsList: [x]}) => (x === 'end' ? end.resolve(seen) : seen.push(x)));
  return () => end.promise;
}

// tells returns what a session does to registrations or subscriptions, up to its delete.
async function tells(listener, what, session, names) {
  const told = [];
  const end = deferred();
  for (const name of names) {
    await listener.subscribe(`wamp.${what}.on_${name}`, ({argsList}) => {
      const [who, it] = plain(argsList);
      if (who === session.id) told.push([name, it.id || it]);
      if (who === session.id && name === 'delete') end.resolve(told);
    });
  }
  return () => end.promise;
}

const checks = {
  async 'progressive results of others come one by one'(a) {
    const connection = new autobahn.Connection({url, realm, max_retries: 0});
    const joined = deferred();
    connection.onopen = joined.resolve;
    connection.open();
    await (await joined.promise).register('com.progress', (args, kwargs, details) => {
      for (let i = 1; i <= 3; i++) details.progress([i]);
      return 'done';
    });
    const parts = [];
    const result = await first(a.call('com.progress', null, {progress_callback: ({argsList}) => parts.push(...plain(argsList))}));
    connection.close();
    same([parts, result], [[1, 2, 3], 'done']);
  },
  async 'a call is canceled'(a, b) {
    await a.register('com.never', never);
    for (const options of [{mode: 'skip'}, {mode: 'kill'}, {mode: 'killnowait'}, {}]) {
      const call = b.call('com.never');
      b.cancel(b.getOpStatus().reqId, options);
      same((await fails(call)).errorUri, 'wamp.error.canceled');
    }
  },
  async 'a call times out'(a, b) {
    await a.register('com.never', never);
    same((await fails(b.call('com.never', null, {timeout: 50}))).errorUri, 'wamp.error.timeout');
  },
  async 'a call fails when its callee leaves'(a, b) {
    const called = deferred();
    await a.register('com.never', () => { called.resolve(); return never(); });
    const failed = fails(b.call('com.never'));
    await called.promise;
    a.disconnect();
    same((await failed).errorUri, 'wamp.error.canceled');
  },
  async 'callers are disclosed when they ask for it'(a, b) {
    await a.register('com.who', ({details}) => ({argsList: ['caller', 'caller_authid', 'caller_authrole'].map((k) => details[k] ?? null)}));
    same(await all(b.call('com.who', null, {disclose_me: true})), [b.id, b.authid, 'anonymous']);
    same(await all(b.call('com.who')), [null, null, null]);
  },
  async 'publishers are disclosed when they ask for it'(a, b) {
    const [handler, next] = heard();
    await a.subscribe('com.whose', handler);
    await b.publish('com.whose', ['x'], {disclose_me: true});
    const {publisher, publisher_authid, publisher_authrole} = plain((await next).details);
    same([publisher, publisher_authid, publisher_authrole], [b.id, b.authid, 'anonymous']);
  },
  async 'the most specific registration is called'(a, b) {
    await a.register('com.most', says('prefix'), {match: 'prefix'});
    await a.register('com.most.some', says('longer'), {match: 'prefix'});
    await a.register('com.most.some.thing', () => ({argsList: ['exact']}));
    await a.register('com..wild', says('wildcard'), {match: 'wildcard'});
    same(await all(b.call('com.most.x')), ['prefix', 'com.most.x']);
    same(await all(b.call('com.most.some.x')), ['longer', 'com.most.some.x']);
    same(await all(b.call('com.most.some.thing')), ['exact']);
    same(await all(b.call('com.some.wild')), ['wildcard', 'com.some.wild']);
    same((await fails(b.call('com.some.other'))).errorUri, 'wamp.error.no_such_procedure');
  },
  async 'subscriptions by a pattern get the topic'(a, b) {
    for (const [match, pattern] of [['prefix', 'com.pattern'], ['wildcard', 'com..topic']]) {
      const [handler, next] = heard();
      await a.subscribe(pattern, handler, {match});
      await b.publish('com.pattern_x.topic', {argsList: [1], argsDict: {k: 2}});
      const {args, kwargs, details} = await next;
      same([args, kwargs, details.topic], [[1], {k: 2}, 'com.pattern_x.topic']);
    }
  },
  async 'shared registrations are called in turn'(a, b) {
    const c = await open();
    for (const s of [a, b, c]) await s.register('com.shared', () => ({argsList: [s.id]}), {invoke: 'roundrobin'});
    const who = [];
    for (let i = 0; i < 6; i++) who.push(await first(a.call('com.shared')));
    same(who, [a, b, c, a, b, c].map((s) => s.id));
    const d = await open();
    same((await fails(d.register('com.shared', never, {invoke: 'last'}))).errorUri, 'wamp.error.procedure_already_exists');
  },
  async 'first and last are called by their place'(a, b) {
    for (const invoke of ['first', 'last']) {
      for (const s of [a, b]) await s.register(`com.${invoke}`, () => ({argsList: [s.id]}), {invoke});
    }
    same([await first(a.call('com.first')), await first(a.call('com.last'))], [a.id, b.id]);
  },
  async 'publishers do not hear themselves'(a, b) {
    const seen = await hears(a, 'com.me');
    await a.publish('com.me', ['mine']);
    await b.publish('com.me', ['end']);
    same(await seen(), []);
  },
  async 'lists say who gets an event'(a, b) {
    const seen = await hears(a, 'com.lists');
    for (const [attribute, mine] of [['', a.id], ['_authid', a.authid], ['_authrole', 'anonymous']]) {
      const other = attribute === '' ? b.id : 'nobody';
      await b.publish('com.lists', ['excluded'], {[`exclude${attribute}`]: [mine]});
      await b.publish('com.lists', ['not eligible'], {[`eligible${attribute}`]: other});
      await b.publish('com.lists', [`not excluded${attribute}`], {[`exclude${attribute}`]: other});
      await b.publish('com.lists', [`eligible${attribute}`], {[`eligible${attribute}`]: [mine, other]});
    }
    await b.publish('com.lists', ['end']);
    same(await seen(), ['', '_authid', '_authrole'].flatMap((x) => [`not excluded${x}`, `eligible${x}`]));
  },
  async 'publications are acknowledged'(a) {
    const ids = [];
    for (let i = 0; i < 2; i++) ids.push(Number((await a.publish('com.acknowledged', ['x'])).publicationId));
    same([ids.every(Number.isSafeInteger), ids[0] === ids[1]], [true, false]);
  },
  async 'retained events are there for who asks'(a, b) {
    const c = await open();
    await c.call('wamp.session.add_testament', {argsList: ['com.retained', ['kept'], {}], argsDict: {publish_options: {retain: true}}});
    const [live, gone] = heard();
    await a.subscribe('com.retained', live);
    await c.disconnect();
    same((await gone).args, ['kept']);
    const unasked = await hears(a, 'com.retained');
    const [handler, next] = heard();
    await b.subscribe('com.retained', handler, {get_retained: true});
    const {args, details} = await next;
    same([args, details.retained], [['kept'], true]);
    await b.publish('com.retained', ['end']);
    same(await unasked(), []);
  },
  async 'sessions are counted, listed and described'(a, b) {
    same((await first(a.call('wamp.session.list'))).includes(b.id), true);
    same(await first(a.call('wamp.session.list', [['nobody']])), []);
    same(await first(a.call('wamp.session.count', [['nobody']])), 0);
    same(await first(a.call('wamp.session.count')) >= 2, true);
    const {session, authid, authrole, authmethod} = await first(a.call('wamp.session.get', [b.id]));
    same([session, authid, authrole, authmethod], [b.id, b.authid, 'anonymous', 'anonymous']);
    same((await fails(a.call('wamp.session.get', [1]))).errorUri, 'wamp.error.no_such_session');
  },
  async 'joining and leaving are heard'(a) {
    const [joined, join] = heard();
    await a.subscribe('wamp.session.on_join', joined);
    const c = await open();
    same((await join).args[0].session, c.id);
    const leave = deferred();
    await a.subscribe('wamp.session.on_leave', ({argsList}) => { if (Number(argsList[0]) === c.id) leave.resolve(plain(argsList)); });
    c.disconnect();
    same(await leave.promise, [c.id, c.authid, 'anonymous']);
  },
  async 'sessions are killed'(a) {
    const [b, c] = [await open(), await open()];
    await a.call('wamp.session.kill', {argsList: [b.id], argsDict: {reason: 'com.example.enough', message: 'bye'}});
    await b.ended;
    same(await first(a.call('wamp.session.kill_by_authid', [c.authid])), [c.id]);
    await c.ended;
    same((await fails(a.call('wamp.session.kill', [a.id]))).errorUri, 'wamp.error.no_such_session');
  },
  async 'registrations are found and described'(a, b) {
    const id = Number((await b.register('com.meta', never, {invoke: 'roundrobin'})).registrationId);
    const pattern = Number((await b.register('com.meta_', never, {match: 'prefix'})).registrationId);
    const list = await first(a.call('wamp.registration.list'));
    same([list.exact.includes(id), list.prefix.includes(pattern), list.wildcard], [true, true, []]);
    same(await first(a.call('wamp.registration.lookup', ['com.meta'])), id);
    same(await first(a.call('wamp.registration.lookup', ['com.meta_', {match: 'prefix'}])), pattern);
    same(await first(a.call('wamp.registration.lookup', ['com.meta_'])), null);
    same(await first(a.call('wamp.registration.match', ['com.meta_x'])), pattern);
    const {uri, match, invoke} = await first(a.call('wamp.registration.get', [id]));
    same([uri, match, invoke], ['com.meta', 'exact', 'roundrobin']);
    same(await first(a.call('wamp.registration.list_callees', [id])), [b.id]);
    same(await first(a.call('wamp.registration.count_callees', [id])), 1);
  },
  async 'what becomes of registrations is heard'(a, b) {
    const names = ['create', 'register', 'unregister', 'delete'];
    const told = await tells(a, 'registration', b, names);
    const id = Number((await b.register('com.meta', never)).registrationId);
    await b.unregister('com.meta');
    same(await told(), names.map((name) => [name, id]));
  },
  async 'subscriptions are found and described'(a, b) {
    const id = Number((await b.subscribe('com.meta', () => {})).subscriptionId);
    const pattern = Number((await b.subscribe('com..meta', () => {}, {match: 'wildcard'})).subscriptionId);
    const list = await first(a.call('wamp.subscription.list'));
    same([list.exact.includes(id), list.prefix, list.wildcard.includes(pattern)], [true, [], true]);
    same(await first(a.call('wamp.subscription.lookup', ['com.meta'])), id);
    same(await first(a.call('wamp.subscription.match', ['com.x.meta'])), [pattern]);
    same(await first(a.call('wamp.subscription.match', ['com.nobody'])), null);
    const {uri, match} = await first(a.call('wamp.subscription.get', [pattern]));
    same([uri, match], ['com..meta', 'wildcard']);
    same(await first(a.call('wamp.subscription.list_subscribers', [id])), [b.id]);
    same(await first(a.call('wamp.subscription.count_subscribers', [id])), 1);
  },
  async 'what becomes of subscriptions is heard'(a, b) {
    const names = ['create', 'subscribe', 'unsubscribe', 'delete'];
    const told = await tells(a, 'subscription', b, names);
    const {subscriptionId, subscriptionKey} = await b.subscribe('com.meta', () => {});
    await b.unsubscribe(subscriptionKey);
    same(await told(), names.map((name) => [name, Number(subscriptionId)]));
  },
  async 'registrations are taken away'(a, b) {
    const {registrationId} = await b.register('com.revoked', never);
    await a.call('wamp.registration.remove_callee', [Number(registrationId), b.id]);
    same((await fails(a.call('com.revoked'))).errorUri, 'wamp.error.no_such_procedure');
    same(typeof await first(b.call('wamp.session.count')), 'number'); // it was told nothing that it does not know
  },
  async 'testaments are published at the end of their session'(a, b) {
    const [left, killed] = [await open(), await open()];
    for (const s of [left, killed]) {
      const [will, next] = heard();
      await a.subscribe('com.will', will);
      await s.call('wamp.session.add_testament', ['com.will', ['gone'], {who: s.id}]);
      await (s === left ? s.disconnect() : b.call('wamp.session.kill', [s.id]));
      const {args, kwargs} = await next;
      same([args, kwargs], [['gone'], {who: s.id}]);
    }
  },
  async 'flushed testaments are not published'(a) {
    const seen = await hears(a, 'com.will');
    const c = await open();
    await c.call('wamp.session.add_testament', ['com.will', ['flushed'], {}]);
    await c.call('wamp.session.flush_testaments');
    await c.call('wamp.session.add_testament', ['com.will', ['end'], {}]);
    c.disconnect();
    same(await seen(), []);
  },
  async 'past events are found'(a, b) {
    const id = Number((await a.subscribe('com.history', () => {})).subscriptionId);
    const published = [];
    for (const n of [1, 2, 3]) published.push(Number((await b.publish('com.history', {argsList: [n], argsDict: {k: n}})).publicationId));
    const past = await all(a.call('wamp.subscription.get_events', [id]));
    same(past.map((e) => [e.publication, e.subscription, e.args, e.kwargs]), published.map((p, i) => [p, id, [i + 1], {k: i + 1}]));
    const newest = await all(a.call('wamp.subscription.get_events', {argsList: [id], argsDict: {limit: 2, reverse: true}}));
    same(newest.map((e) => e.args), [[3], [2]]);
    const after = await all(a.call('wamp.subscription.get_events', {argsList: [id], argsDict: {after_publication: published[0]}}));
    same(after.map((e) => e.args), [[2], [3]]);
  },
  async 'results and errors have arguments and keywords'(a, b) {
    await a.register('com.echo', ({argsList, argsDict}) => ({argsList, argsDict}));
    const {argsList, argsDict} = await b.call('com.echo', {argsList: [1, 'x'], argsDict: {k: ['v']}});
    same(plain([argsList, argsDict]), [[1, 'x'], {k: ['v']}]);
    await a.register('com.fail', () => { throw {error: 'com.example.failed', argsList: [1, 'x'], argsDict: {k: 'v'}}; });
    const e = await fails(b.call('com.fail'));
    same([e.errorUri, plain(e.argsList), plain(e.argsDict)], ['com.example.failed', [1, 'x'], {k: 'v'}]);
  },
  async 'binary crosses encodings'(a) { // in JSON it is a string of U+0000 and base64, which wampy leaves to us
    const bytes = [0, 1, 255];
    const write = (as) => (as === 'json' ? '\0AAH/' : Buffer.from(bytes));
    const read = (as, x) => (as === 'json' ? x : [...x]);
    await a.register('com.binary', ({argsList: [x]}) => { same(read(encoding, x), read(encoding, write(encoding))); return {argsList: [x]}; });
    for (const as of Object.keys(load)) {
      const b = await open(as);
      same(read(as, (await b.call('com.binary', {argsList: [write(as)]})).argsList[0]), read(as, write(as)));
    }
  },
  async 'large integers are exact'(a) {
    await a.register('com.large', ({argsList}) => ({argsList}));
    const want = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 32, -(2 ** 31) - 1, 0.5];
    for (const as of Object.keys(load)) same(await all((await open(as)).call('com.large', want)), want);
    if (encoding !== 'msgpack') return; // JSON has no BigInt, and wampy makes floats of CBOR's
    const big = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n];
    same((await (await open()).call('com.large', big)).argsList, big);
  },
  async 'payloads pass through'(a, b) {
    const as = encoding === 'json' ? 'json' : 'cbor'; // wampy writes no binary in JSON
    const options = {ppt_scheme: 'x_custom', ppt_serializer: as};
    await a.register('com.passthru', ({argsList, argsDict}) => ({argsList, argsDict, options}));
    const {argsList, argsDict} = await b.call('com.passthru', {argsList: [1], argsDict: {k: 2}}, options);
    same(plain([argsList, argsDict]), [[1], {k: 2}]);
    const [handler, next] = heard();
    await a.subscribe('com.passthru', handler);
    await b.publish('com.passthru', {argsList: [1], argsDict: {k: 2}}, options);
    const {args, kwargs, details} = await next;
    same([args, kwargs, details.ppt_scheme], [[1], {k: 2}, 'x_custom']);
  },
  async 'definitions are found and listed'(a, b) {
    await a.call('wamp.reflect.define', ['com.defined', {type: 'procedure', doc: 'text'}]);
    same(await first(b.call('wamp.reflect.describe', ['com.defined'])), {type: 'procedure', doc: 'text'});
    same((await first(b.call('wamp.reflection.procedure.list'))).includes('com.defined'), true);
    same((await first(b.call('wamp.reflection.procedure.describe', ['com.defined']))).definition.doc, 'text');
    same((await fails(b.call('wamp.reflect.define', ['com.defined', null]))).errorUri, 'wamp.error.not_authorized');
  },
};

// bounded fails where a check does not end.
function bounded(check) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('it does not end')), 10_000); });
  return Promise.race([check(), late]).finally(() => clearTimeout(timer));
}

(async () => {
  let status = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await bounded(async () => {
        await check(await open(), await open());
        for (const session of sessions.splice(0)) {
          if (session.getSessionId()) session.disconnect();
          await session.ended;
        }
      });
      console.log(`ok ${name}`);
    } catch (e) {
      status = 1;
      console.log(`FAIL ${name}: ${JSON.stringify(e.errorUri || e.message || e)}`);
    }
  }
  console.log('end');
  process.exit(status);
})();
