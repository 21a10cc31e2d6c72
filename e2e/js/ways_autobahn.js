// Registers com.example.add; on com.example.news it calls that and says the result on com.example.echo; on
// com.example.bye it leaves. The URL is of the transport: ws://…, http://…/longpoll, or tcp://… and unix:/path for
// rawsocket, which has JSON only. With a CA, a certificate and its key it shows these to the router.
const {readFileSync} = require('node:fs');
const autobahn = require('autobahn');

const [type, url, encoding, ...files] = process.argv.slice(2);
const {JSONSerializer, MsgpackSerializer, CBORSerializer} = autobahn.serializer;
const serializer = {json: JSONSerializer, msgpack: MsgpackSerializer, cbor: CBORSerializer}[encoding];
const [ca, cert, key] = files.map((file) => readFileSync(file));

// What Autobahn's long-poll needs of a browser.
global.XMLHttpRequest = class {
  headers = {};

  open(method, to) { Object.assign(this, {method, to}); }

  setRequestHeader(name, value) { this.headers[name] = value; }

  async send(body) {
    const {method, headers} = this;
    try {
      const response = await fetch(this.to, {method, headers, body, signal: AbortSignal.timeout(this.timeout)});
      this.responseText = await response.text();
      Object.assign(this, {status: response.status, statusText: response.statusText});
    } catch (error) {
      Object.assign(this, {status: 0, statusText: String(error)});
    }
    this.readyState = 4;
    this.onreadystatechange();
  }
};

const {hostname: host, port, pathname} = new URL(url);
const path = url.startsWith('unix:') ? pathname : undefined;
const connection = new autobahn.Connection({
  transports: [{type, url, host, port, path, serializers: [new serializer()], tlsConfiguration: {ca, cert, key}}],
  realm: 'realm1', max_retries: 0,
});
connection.onopen = async (session, {transport}) => {
  await session.register('com.example.add', ([a, b]) => a + b);
  await session.subscribe('com.example.news', async (args) => {
    session.publish('com.example.echo', [await session.call('com.example.add', args)]);
  });
  await session.subscribe('com.example.bye', () => connection.close());
  console.log('ready', transport.type);
};
connection.onclose = (reason, details) => { console.log('ended', reason, details.reason); return true; };
connection.open();
