// Logs in by a method, and says who it is then.
const {Wampy} = require('wampy');
const WebSocket = require('ws');

const [url, encoding, method, authid, secret] = process.argv.slice(2);
const load = {
  json: () => require('wampy/JsonSerializer.js').JsonSerializer,
  msgpack: () => require('wampy/MsgpackSerializer.js').MsgpackSerializer,
  cbor: () => require('wampy/CborSerializer.js').CborSerializer,
};
const plugins = {
  ticket: async () => () => secret,
  wampcra: async () => (await import('wampy/wampcra.js')).sign(secret),
  cryptosign: async () => (await import('wampy/cryptosign.js')).sign(secret),
};
async function main() {
  const wampy = new Wampy(url, {
    realm: 'realm1', ws: WebSocket, serializer: new (load[encoding]())(), autoReconnect: false,
    authid, authmethods: [method], authMode: 'auto', authPlugins: {[method]: await plugins[method]()},
  });
  const details = await wampy.connect();
  console.log('in', details.authid, details.authrole, details.authmethod);
  await wampy.disconnect();
  console.log('out');
}
main().catch((error) => { console.log('out', error.errorUri ?? error.message ?? error); process.exit(0); });
