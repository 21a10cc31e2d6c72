// Calls what an HTTP service offers, publishes what it is sent, and says what comes of both.
const autobahn = require('autobahn');
const [url, from, to] = process.argv.slice(2);
// Its promises have no progress of their own.
const deferred = () => {
  const d = {};
  d.promise = new Promise((resolve, reject) => Object.assign(d, {resolve, reject}));
  d.parts = d.promise.parts = [];
  d.notify = (part) => d.parts.push(part);
  return d;
};
const connection = new autobahn.Connection({url, realm: 'realm1', max_retries: 0, use_deferred: deferred});
connection.onopen = async (session) => {
  await session.subscribe('com.example.echo', ([n]) => console.log('echo', n));
  console.log('sum', await session.call('com.example.sum', [2, 3, 4]));
  await session.call('com.example.fail').catch((e) => console.log('fail', e.error, e.args[0]));
  const count = session.call('com.example.count', [], {}, {receive_progress: true});
  const last = await count;
  console.log('count', ...count.parts, last);
  for (let n = Number(from); n < Number(to); n++) await session.publish('com.example.news', [n], {}, {acknowledge: true});
  console.log('published');
};
connection.onclose = () => true;
connection.open();
