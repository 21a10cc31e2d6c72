// Logs in by a method, and says who it is then.
const autobahn = require('autobahn');

const [url, encoding, method, authid, secret] = process.argv.slice(2);
const {JSONSerializer, MsgpackSerializer, CBORSerializer} = autobahn.serializer;
const serializer = {json: JSONSerializer, msgpack: MsgpackSerializer, cbor: CBORSerializer}[encoding];
const {auth_cra: cra, auth_cryptosign: cryptosign} = autobahn;
const nacl = require('tweetnacl');
const key = method === 'cryptosign' ? nacl.sign.keyPair.fromSeed(Buffer.from(secret, 'hex')) : undefined;

const answers = {
  ticket: () => secret,
  wampcra: (extra) => cra.sign(extra.salt ? cra.derive_key(secret, extra.salt, extra.iterations, extra.keylen) : secret, extra.challenge),
  cryptosign: (extra) => cryptosign.sign_challenge(key, extra),
};
const connection = new autobahn.Connection({
  transports: [{type: 'websocket', url, serializers: [new serializer()]}],
  realm: 'realm1', max_retries: 0, authid, authmethods: [method],
  authextra: key ? {pubkey: cryptosign.public_key(key), channel_binding: null} : {},
  onchallenge: (session, name, extra) => answers[name](extra),
});
connection.onopen = (session, details) => {
  console.log('in', details.authid, details.authrole, details.authmethod);
  connection.close();
};
connection.onclose = (reason, details) => { console.log('out', details.reason); return true; };
connection.open();
