// Tries every advanced feature that wampy has, and says "ok name" or "FAIL name: why" of each.
const {Wampy} = require('wampy');
const WebSocket = require('ws');
const {deepStrictEqual: same} = require('node:assert');

const [url, encoding] = process.argv.slice(2);
const load = {
  json: () => require('wampy/JsonSerializer.js').JsonSerializer,
  msgpack: () => require('wampy/MsgpackSerializer.js').MsgpackSerializer,
  cbor: () => require('wampy/CborSerializer.js').CborSerializer,
};

async function open() {
  const wampy = new Wampy(url, {realm: 'realm1', ws: WebSocket, serializer: new (load[encoding]())(), autoReconnect: false});
  await wampy.connect();
  return wampy;
}

const uri = (e) => e && (e.errorUri || e.error);
const plain = (v) => JSON.parse(JSON.stringify(v, (k, x) => (typeof x === 'bigint' ? Number(x) : x)));
const first = async (call) => plain((await call).argsList[0]);

function heard() {
  let done;
  const next = new Promise((resolve) => { done = resolve; });
  return [(event) => done(event), next];
}

const checks = {
  // No progressive results: as a callee, wampy does not announce them, and so is not asked for them.
  async 'caller identification'(a, b) {
    await a.register('com.who', ({details}) => ({argsList: [Number(details.caller)]}));
    same(await first(b.call('com.who', null, {disclose_me: true})), Number(b.getSessionId()));
  },
  async 'publisher identification'(a, b) {
    const [handler, next] = heard();
    await a.subscribe('com.whose', handler);
    await b.publish('com.whose', ['x'], {disclose_me: true});
    same(Number((await next).details.publisher), Number(b.getSessionId()));
  },
  async 'patterns'(a, b) {
    await a.register('com.prefix', ({details}) => ({argsList: [details.procedure]}), {match: 'prefix'});
    same(await first(b.call('com.prefix.x')), 'com.prefix.x');
    const [handler, next] = heard();
    await a.subscribe('com..topic', handler, {match: 'wildcard'});
    await b.publish('com.some.topic', {argsList: [1], argsDict: {k: 2}});
    const {argsList, argsDict, details} = await next;
    same([plain(argsList), plain(argsDict), details.topic], [[1], {k: 2}, 'com.some.topic']);
  },
  async 'shared registration'(a, b) {
    for (const s of [a, b]) await s.register('com.shared', () => ({argsList: [Number(s.getSessionId())]}), {invoke: 'roundrobin'});
    const who = [];
    for (let i = 0; i < 3; i++) who.push(await first(a.call('com.shared')));
    same([who[0] === who[1], who[0] === who[2]], [false, true]);
  },
  async 'lists'(a, b) {
    const seen = [];
    let last;
    const end = new Promise((resolve) => { last = resolve; });
    await a.subscribe('com.lists', ({argsList: [x]}) => { seen.push(x); if (x === 'end') last(); });
    await b.publish('com.lists', ['no'], {exclude: [Number(a.getSessionId())]});
    await b.publish('com.lists', ['others'], {eligible_authrole: ['nobody']});
    await b.publish('com.lists', ['mine'], {eligible: [Number(a.getSessionId())]});
    await b.publish('com.lists', ['end']);
    await end;
    same(seen, ['mine', 'end']);
  },
  async 'retained events'(a, b) {
    await b.publish('com.retained', ['past']); // wampy drops the option retain
    const [handler, next] = heard();
    await a.subscribe('com.retained', handler, {get_retained: true});
    await b.publish('com.retained', ['live']);
    same(plain((await next).argsList), ['live']);
  },
  async 'meta API'(a, b) {
    const id = Number(b.getSessionId());
    same((await first(a.call('wamp.session.list'))).includes(id), true);
    same((await first(a.call('wamp.session.get', [id]))).session, id);
    await b.register('com.meta', () => 1);
    const registration = await first(a.call('wamp.registration.match', ['com.meta']));
    same(await first(a.call('wamp.registration.list_callees', [registration])), [id]);
    await b.subscribe('com.meta', () => {});
    const subscription = await first(a.call('wamp.subscription.lookup', ['com.meta']));
    same(await first(a.call('wamp.subscription.count_subscribers', [subscription])), 1);
  },
  async 'testaments and killing'(a, b) {
    const other = await open();
    const [will, left] = heard();
    await a.subscribe('com.will', will);
    await other.call('wamp.session.add_testament', ['com.will', ['gone'], {}]);
    await b.call('wamp.session.kill', [Number(other.getSessionId())]);
    same(plain((await left).argsList), ['gone']);
  },
  async 'timeouts'(a, b) {
    await a.register('com.never', () => new Promise(() => {}));
    const e = await b.call('com.never', null, {timeout: 50}).then(() => null, (e) => e);
    same(uri(e), 'wamp.error.timeout');
  },
};

(async () => {
  const [a, b] = [await open(), await open()];
  for (const [name, check] of Object.entries(checks)) {
    await check(a, b).then(() => console.log(`ok ${name}`), (e) => console.log(`FAIL ${name}: ${JSON.stringify(e)} ${e && e.message}`));
  }
  console.log('end');
  process.exit(0);
})();
