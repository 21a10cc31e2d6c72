// Registers com.example.add, and on com.example.news calls that and says the result on com.example.echo.
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
  await wampy.subscribe('com.example.news', async ({argsList}) => {
    const sum = await wampy.call('com.example.add', argsList.map(Number));
    await wampy.publish('com.example.echo', sum.argsList.map(Number));
  });
  console.log('ready');
}

main().catch((error) => { console.log('ended', error); process.exit(1); });
