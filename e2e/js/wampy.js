// Registers com.example.add, and says on com.example.echo what it hears on com.example.news.
const {Wampy} = require('wampy');
const WebSocket = require('ws');
const [url, encoding] = process.argv.slice(2);
const load = {
  json: () => require('wampy/JsonSerializer.js').JsonSerializer,
  msgpack: () => require('wampy/MsgpackSerializer.js').MsgpackSerializer,
  cbor: () => require('wampy/CborSerializer.js').CborSerializer,
};
async function main() {
  const wampy = new Wampy(url, {realm: 'realm1', ws: WebSocket, serializer: new (load[encoding]())(), autoReconnect: false});
  await wampy.connect();
  await wampy.register('com.example.add', ({argsList: [a, b]}) => ({argsList: [Number(a) + Number(b)]}));
  await wampy.subscribe('com.example.news', ({argsList}) => wampy.publish('com.example.echo', argsList));
  console.log('ready');
}
main().catch((error) => { console.log('failed', error); process.exit(1); });
