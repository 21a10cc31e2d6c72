// Tries every advanced feature that Autobahn|JS has, and says "ok name" or "FAIL name: why" of each.
const autobahn = require('autobahn');
const {deepStrictEqual: same} = require('node:assert');

const [url, realm, encoding] = process.argv.slice(2);
const serializers = {json: 'JSONSerializer', msgpack: 'MsgpackSerializer', cbor: 'CBORSerializer'};
const ack = {acknowledge: true};

// deferred is what Autobahn wants of a promise: it can be told of progress.
function deferred() {
  const d = {told: []};
  d.promise = new Promise((resolve, reject) => Object.assign(d, {resolve, reject}));
  const then = d.promise.then.bind(d.promise);
  d.promise.then = (done, failed, progress) => { if (progress) d.told.push(progress); return then(done, failed); };
  d.notify = (value) => d.told.forEach((f) => f(value));
  return d;
}

const sessions = []; // of the check that runs

// open joins the realm. session.ended resolves to why the session is over.
function open(as = encoding) {
  const {promise, resolve, reject} = deferred();
  const ended = deferred();
  const connection = new autobahn.Connection({
    transports: [{type: 'websocket', url, serializers: [new autobahn.serializer[serializers[as]]()]}],
    realm, max_retries: 0, use_deferred: deferred,
    on_user_error: () => {}, // what callees throw on purpose
  });
  connection.onopen = (session, welcome) => {
    sessions.push(session);
    resolve(Object.assign(session, {ended: ended.promise, welcome}));
  };
  connection.onclose = (reason, details) => { ended.resolve(details); reject(new Error(reason)); return true; };
  connection.open();
  return promise;
}

// heard returns a handler, and a promise of the next event's arguments, keywords and details.
function heard() {
  const next = deferred();
  return [(args, kwargs, details) => next.resolve({args, kwargs, details}), next.promise];
}

// hears subscribes, and returns a function that gives the first arguments of all events there were, at the event "end".
async function hears(session, topic, options) {
  const seen = [];
  const end = deferred();
  await session.subscribe(topic, ([x]) => (x === 'end' ? end.resolve(seen) : seen.push(x)), options);
  return () => end.promise;
}

const fails = (call) => call.then((r) => { throw new Error(`it did not fail: ${JSON.stringify(r)}`); }, (e) => e);
const never = () => new Promise(() => {});

const checks = {
  async 'progressive results come one by one'(a, b) {
    await a.register('com.progress', (args, kwargs, details) => {
      for (let i = 1; i <= 3; i++) details.progress([i]);
      return 'done';
    });
    const parts = [];
    const result = await b.call('com.progress', [], {}, {receive_progress: true})
      .then((r) => r, null, (part) => parts.push(part));
    same([parts, result], [[1, 2, 3], 'done']);
  },
  async 'who did not ask for progress gets the result alone'(a, b) {
    await a.register('com.progress', (args, kwargs, details) => Boolean(details.progress));
    same(await b.call('com.progress'), false);
  },
  async 'a call is canceled'(a, b) { // by kill: after the others Autobahn takes the ERROR for a violation
    await a.register('com.never', never);
    const call = b.call('com.never');
    call.cancel({mode: 'kill'});
    same((await fails(call)).error, 'wamp.error.canceled');
    same(typeof await b.call('wamp.session.count'), 'number');
  },
  async 'a call times out'(a, b) {
    await a.register('com.never', never);
    same((await fails(b.call('com.never', [], {}, {timeout: 50}))).error, 'wamp.error.timeout');
  },
  async 'a call fails when its callee leaves'(a, b) {
    const called = deferred();
    await a.register('com.never', () => { called.resolve(); return never(); });
    const failed = fails(b.call('com.never'));
    await called.promise;
    a.leave();
    same((await failed).error, 'wamp.error.canceled');
  },
  async 'callers are disclosed when they ask for it'(a, b) {
    await a.register('com.who', (args, kwargs, {caller, caller_authid, caller_authrole}) => [caller, caller_authid, caller_authrole].map((x) => x || null));
    same(await b.call('com.who', [], {}, {disclose_me: true}), [b.id, b.welcome.authid, 'anonymous']);
    same(await b.call('com.who'), [null, null, null]);
  },
  async 'publishers are disclosed when they ask for it'(a, b) {
    const [handler, next] = heard();
    await a.subscribe('com.whose', handler);
    await b.publish('com.whose', [], {}, {...ack, disclose_me: true});
    const {details} = await next;
    same([details.publisher, details.publisher_authid, details.publisher_authrole], [b.id, b.welcome.authid, 'anonymous']);
  },
  async 'the most specific registration is called'(a, b) {
    const says = (word) => (args, kwargs, details) => [word, details.procedure];
    await a.register('com.most', says('prefix'), {match: 'prefix'});
    await a.register('com.most.some', says('longer'), {match: 'prefix'});
    await a.register('com.most.some.thing', says('exact'));
    await a.register('com..wild', says('wildcard'), {match: 'wildcard'});
    same(await b.call('com.most.x'), ['prefix', 'com.most.x']);
    same(await b.call('com.most.some.x'), ['longer', 'com.most.some.x']);
    same(await b.call('com.most.some.thing'), ['exact', 'com.most.some.thing']);
    same(await b.call('com.some.wild'), ['wildcard', 'com.some.wild']);
    same((await fails(b.call('com.some.other'))).error, 'wamp.error.no_such_procedure');
  },
  async 'subscriptions by a pattern get the topic'(a, b) {
    for (const [match, pattern] of [['prefix', 'com.pattern'], ['wildcard', 'com..topic']]) {
      const [handler, next] = heard();
      await a.subscribe(pattern, handler, {match});
      await b.publish('com.pattern_x.topic', [1], {k: 2}, ack);
      const {args, kwargs, details} = await next;
      same([args, kwargs, details.topic], [[1], {k: 2}, 'com.pattern_x.topic']);
    }
  },
  async 'shared registrations are called in turn'(a, b) {
    const c = await open();
    for (const s of [a, b, c]) await s.register('com.shared', () => s.id, {invoke: 'roundrobin'});
    const who = [];
    for (let i = 0; i < 6; i++) who.push(await a.call('com.shared'));
    same(who, [a, b, c, a, b, c].map((s) => s.id));
    same((await fails(a.register('com.shared', never, {invoke: 'first'}))).error, 'wamp.error.procedure_already_exists');
  },
  async 'first and last are called by their place'(a, b) {
    for (const invoke of ['first', 'last']) {
      for (const s of [a, b]) await s.register(`com.${invoke}`, () => s.id, {invoke});
    }
    same([await a.call('com.first'), await a.call('com.last')], [a.id, b.id]);
  },
  async 'publishers hear themselves only if they say so'(a) {
    const seen = await hears(a, 'com.me');
    await a.publish('com.me', ['excluded'], {}, ack);
    await a.publish('com.me', ['mine'], {}, {...ack, exclude_me: false});
    await a.publish('com.me', ['end'], {}, {...ack, exclude_me: false});
    same(await seen(), ['mine']);
  },
  async 'lists say who gets an event'(a, b) {
    const seen = await hears(a, 'com.lists');
    for (const [attribute, mine] of [['', a.id], ['_authid', a.welcome.authid], ['_authrole', 'anonymous']]) {
      const other = attribute === '' ? b.id : 'nobody';
      await b.publish('com.lists', ['excluded'], {}, {...ack, [`exclude${attribute}`]: [mine]});
      await b.publish('com.lists', ['not eligible'], {}, {...ack, [`eligible${attribute}`]: [other]});
      await b.publish('com.lists', ['nobody'], {}, {...ack, [`eligible${attribute}`]: []});
      await b.publish('com.lists', [`not excluded${attribute}`], {}, {...ack, [`exclude${attribute}`]: [other]});
      await b.publish('com.lists', [`eligible${attribute}`], {}, {...ack, [`eligible${attribute}`]: [mine]});
    }
    await b.publish('com.lists', ['end'], {}, ack);
    same(await seen(), ['', '_authid', '_authrole'].flatMap((x) => [`not excluded${x}`, `eligible${x}`]));
  },
  async 'acknowledged publications have the id of their event'(a, b) {
    const [handler, next] = heard();
    await a.subscribe('com.acknowledged', handler);
    const publication = await b.publish('com.acknowledged', [], {}, ack);
    same((await next).details.publication, publication.id);
    same((await fails(b.publish('wamp.session.on_join', [], {}, ack))).error, 'wamp.error.invalid_uri');
  },
  async 'retained events are there for who asks'(a, b) {
    await b.publish('com.retained', ['old'], {}, {...ack, retain: true});
    await b.publish('com.retained', ['kept'], {}, {...ack, retain: true});
    await b.publish('com.retained', ['passing'], {}, ack);
    const unasked = await hears(b, 'com.retained');
    const [handler, next] = heard();
    await a.subscribe('com.retained', handler, {get_retained: true});
    const {args, details} = await next;
    same([args, details.retained], [['kept'], true]);
    await a.publish('com.retained', ['end'], {}, ack);
    same(await unasked(), []);
  },
  async 'sessions are counted, listed and described'(a, b) {
    same((await a.call('wamp.session.list')).includes(b.id), true);
    same(await a.call('wamp.session.list', [['nobody']]), []);
    same(await a.call('wamp.session.count', [['nobody']]), 0);
    same(await a.call('wamp.session.count') >= 2, true);
    const {session, authid, authrole, authmethod} = await a.call('wamp.session.get', [b.id]);
    same([session, authid, authrole, authmethod], [b.id, b.welcome.authid, 'anonymous', 'anonymous']);
    same((await fails(a.call('wamp.session.get', [1]))).error, 'wamp.error.no_such_session');
  },
  async 'joining and leaving are heard'(a) {
    const [joined, join] = heard();
    await a.subscribe('wamp.session.on_join', joined);
    const c = await open();
    const {id, welcome: {authid}} = c; // Autobahn forgets the id when it leaves
    same((await join).args[0].session, id);
    const leave = deferred();
    await a.subscribe('wamp.session.on_leave', (args) => { if (args[0] === id) leave.resolve(args); });
    c.leave();
    same(await leave.promise, [id, authid, 'anonymous']);
  },
  async 'a killed session learns why'(a) {
    const [b, c, d] = [await open(), await open(), await open()];
    await a.call('wamp.session.kill', [b.id]);
    same((await b.ended).reason, 'wamp.close.killed');
    await a.call('wamp.session.kill', [c.id], {reason: 'com.example.enough', message: 'bye'});
    const {reason, message} = await c.ended;
    same([reason, message], ['com.example.enough', 'bye']);
    const id = d.id;
    same(await a.call('wamp.session.kill_by_authid', [d.welcome.authid]), [id]);
    same((await d.ended).reason, 'wamp.close.killed');
    same((await fails(a.call('wamp.session.kill', [a.id]))).error, 'wamp.error.no_such_session');
  },
  async 'registrations are found and described'(a, b) {
    const {id} = await b.register('com.meta', () => 1, {invoke: 'roundrobin'});
    const pattern = await b.register('com.meta_', () => 1, {match: 'prefix'});
    const list = await a.call('wamp.registration.list');
    same([list.exact.includes(id), list.prefix.includes(pattern.id), list.wildcard], [true, true, []]);
    same(await a.call('wamp.registration.lookup', ['com.meta']), id);
    same(await a.call('wamp.registration.lookup', ['com.meta_', {match: 'prefix'}]), pattern.id);
    same(await a.call('wamp.registration.lookup', ['com.meta_']), null);
    same(await a.call('wamp.registration.match', ['com.meta_x']), pattern.id);
    const {uri, match, invoke} = await a.call('wamp.registration.get', [id]);
    same([uri, match, invoke], ['com.meta', 'exact', 'roundrobin']);
    same(await a.call('wamp.registration.list_callees', [id]), [b.id]);
    same(await a.call('wamp.registration.count_callees', [id]), 1);
    same((await fails(a.call('wamp.registration.get', [1 << 30]))).error, 'wamp.error.no_such_registration');
  },
  async 'what becomes of registrations is heard'(a, b) {
    const told = [];
    const end = deferred();
    for (const name of ['create', 'register', 'unregister', 'delete']) {
      await a.subscribe(`wamp.registration.on_${name}`, ([session, what]) => {
        if (session === b.id) told.push([name, what.id || what]);
        if (session === b.id && name === 'delete') end.resolve();
      });
    }
    const registration = await b.register('com.meta', () => 1);
    await registration.unregister();
    await end.promise;
    same(told, ['create', 'register', 'unregister', 'delete'].map((name) => [name, registration.id]));
  },
  async 'subscriptions are found and described'(a, b) {
    const {id} = await b.subscribe('com.meta', () => {});
    const pattern = await b.subscribe('com..meta', () => {}, {match: 'wildcard'});
    const list = await a.call('wamp.subscription.list');
    same([list.exact.includes(id), list.prefix, list.wildcard.includes(pattern.id)], [true, [], true]);
    same(await a.call('wamp.subscription.lookup', ['com.meta']), id);
    same(await a.call('wamp.subscription.lookup', ['com..meta', {match: 'wildcard'}]), pattern.id);
    same(await a.call('wamp.subscription.match', ['com.x.meta']), [pattern.id]);
    same(await a.call('wamp.subscription.match', ['com.nobody']), null);
    const {uri, match} = await a.call('wamp.subscription.get', [pattern.id]);
    same([uri, match], ['com..meta', 'wildcard']);
    same(await a.call('wamp.subscription.list_subscribers', [id]), [b.id]);
    same(await a.call('wamp.subscription.count_subscribers', [id]), 1);
  },
  async 'what becomes of subscriptions is heard'(a, b) {
    const told = [];
    const end = deferred();
    for (const name of ['create', 'subscribe', 'unsubscribe', 'delete']) {
      await a.subscribe(`wamp.subscription.on_${name}`, ([session, what]) => {
        if (session === b.id) told.push([name, what.id || what]);
        if (session === b.id && name === 'delete') end.resolve();
      });
    }
    const subscription = await b.subscribe('com.meta', () => {});
    await subscription.unsubscribe();
    await end.promise;
    same(told, ['create', 'subscribe', 'unsubscribe', 'delete'].map((name) => [name, subscription.id]));
  },
  async 'registrations and subscriptions are taken away'(a, b) {
    const registration = await b.register('com.revoked', () => 1);
    const subscription = await b.subscribe('com.revoked', () => {});
    const reason = 'com.example.enough';
    await a.call('wamp.registration.remove_callee', [registration.id, b.id], {reason});
    await a.call('wamp.subscription.remove_subscriber', [subscription.id, b.id], {reason});
    same([await registration.on_unregister, await subscription.on_unsubscribe], [reason, reason]);
    same((await fails(a.call('com.revoked'))).error, 'wamp.error.no_such_procedure');
  },
  async 'testaments are published at the end of their session'(a, b) {
    const [left, killed] = [await open(), await open()];
    for (const s of [left, killed]) {
      const [will, next] = heard();
      await a.subscribe('com.will', will);
      await s.call('wamp.session.add_testament', ['com.will', ['gone'], {who: s.id}]);
      const id = s.id;
      await (s === left ? s.leave() : b.call('wamp.session.kill', [id]));
      const {args, kwargs} = await next;
      same([args, kwargs], [['gone'], {who: id}]);
    }
  },
  async 'flushed testaments are not published'(a) {
    const seen = await hears(a, 'com.will');
    const c = await open();
    await c.call('wamp.session.add_testament', ['com.will', ['flushed'], {}]);
    await c.call('wamp.session.flush_testaments');
    await c.call('wamp.session.add_testament', ['com.will', ['end'], {}]);
    c.leave();
    same(await seen(), []);
  },
  async 'past events are found'(a, b) {
    const {id} = await a.subscribe('com.history', () => {});
    const published = [];
    for (const n of [1, 2, 3]) published.push((await b.publish('com.history', [n], {k: n}, ack)).id);
    const past = await a.call('wamp.subscription.get_events', [id]);
    same(past.args.map((e) => [e.publication, e.subscription, e.args, e.kwargs]), published.map((p, i) => [p, id, [i + 1], {k: i + 1}]));
    const newest = await a.call('wamp.subscription.get_events', [id], {limit: 2, reverse: true});
    same(newest.args.map((e) => e.args), [[3], [2]]);
    const after = await a.call('wamp.subscription.get_events', [id], {after_publication: published[0]});
    same(after.args.map((e) => e.args), [[2], [3]]);
  },
  async 'results and errors have arguments and keywords'(a, b) {
    await a.register('com.echo', (args, kwargs) => new autobahn.Result(args, kwargs));
    const {args, kwargs} = await b.call('com.echo', [1, 'x'], {k: ['v']});
    same([args, kwargs], [[1, 'x'], {k: ['v']}]);
    await a.register('com.fail', () => { throw new autobahn.Error('com.example.failed', [1, 'x'], {k: 'v'}); });
    const e = await fails(b.call('com.fail'));
    same([e.error, e.args, e.kwargs], ['com.example.failed', [1, 'x'], {k: 'v'}]);
  },
  async 'binary crosses encodings'(a) { // in JSON it is a string of U+0000 and base64, which Autobahn leaves to us
    const bytes = [0, 1, 255];
    const write = (as) => (as === 'json' ? '\0AAH/' : Buffer.from(bytes));
    const read = (as, x) => (as === 'json' ? x : [...x]);
    await a.register('com.binary', ([x]) => { same(read(encoding, x), read(encoding, write(encoding))); return x; });
    for (const as of Object.keys(serializers)) {
      const b = await open(as);
      same(read(as, await b.call('com.binary', [write(as)])), read(as, write(as)));
    }
  },
  async 'large integers are exact'(a) {
    await a.register('com.large', (args) => args);
    const want = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 32, -(2 ** 31) - 1, 0.5];
    for (const as of Object.keys(serializers)) same(await (await open(as)).call('com.large', want), want);
  },
  async 'definitions are found and listed'(a, b) {
    await a.call('wamp.reflect.define', ['com.defined', {type: 'procedure', doc: 'text'}]);
    same(await b.call('wamp.reflect.describe', ['com.defined']), {type: 'procedure', doc: 'text'});
    same((await b.call('wamp.reflection.procedure.list')).includes('com.defined'), true);
    same((await b.call('wamp.reflection.procedure.describe', ['com.defined'])).definition.doc, 'text');
    same(await b.call('wamp.reflection.topic.describe', ['com.defined']), null);
    same((await fails(b.call('wamp.reflect.define', ['com.defined', null]))).error, 'wamp.error.not_authorized');
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
          if (session.isOpen) session.leave();
          await session.ended;
        }
      });
      console.log(`ok ${name}`);
    } catch (e) {
      status = 1;
      console.log(`FAIL ${name}: ${JSON.stringify(e.error || e.message || e)}`);
    }
  }
  console.log('end');
  process.exit(status);
})();
