// Registers com.example.add, and says on com.example.echo what it hears on com.example.news.
const autobahn = require('autobahn');
const [url, encoding] = process.argv.slice(2);
const {JSONSerializer, MsgpackSerializer, CBORSerializer} = autobahn.serializer;
const serializer = {json: JSONSerializer, msgpack: MsgpackSerializer, cbor: CBORSerializer}[encoding];
const connection = new autobahn.Connection({url, realm: 'realm1', serializers: [new serializer()], max_retries: 0});
connection.onopen = async (session) => {
  await session.register('com.example.add', ([a, b]) => a + b);
  await session.register('com.example.fail', () => { throw new autobahn.Error('com.example.bad', ['why']); });
  await session.register('com.example.never', () => new Promise(() => {}));
  await session.subscribe('com.example.news', (args) => session.publish('com.example.echo', args));
  console.log('ready');
};
connection.onclose = (reason) => { console.log('closed', reason); return true; };
connection.open();
