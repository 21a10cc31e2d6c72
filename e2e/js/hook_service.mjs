// An HTTP service that knows nothing of WAMP. It offers procedures, is sent events, and publishes by HTTP what it hears.
import http from 'node:http';

const [port, gateway] = process.argv.slice(2);
const names = ['sum', 'fail', 'slow', 'count'];
const hooks = Object.fromEntries(names.map((name) => [name, {procedure: `com.example.${name}`, url: `/${name}`}]));
hooks.news = {topic: 'com.example.news', url: '/news'};

const answer = (res, status, body, kind = 'application/json') => {
  res.writeHead(status, {'Content-Type': kind}).end(JSON.stringify(body));
};

const handlers = {
  '/healthz': (res) => answer(res, 200, 'well'),
  '/.well-known/wamp': (res) => answer(res, 200, {hooks}),
  '/sum': (res, args) => answer(res, 200, {args: [args.reduce((a, b) => a + b, 0)]}),
  '/fail': (res) => answer(res, 409, {title: 'Bad', wamp: {error: 'com.example.bad', args: ['why']}}, 'application/problem+json'),
  '/slow': () => console.log('slow'),
  '/count': (res) => {
    res.writeHead(200, {'Content-Type': 'application/jsonl'});
    for (let n = 0; n < 3; n++) res.write(JSON.stringify({args: [n]}) + '\n');
    res.end('{"result":{"args":["done"]}}\n');
  },
  '/news': async (res, args) => {
    console.log('news', ...args);
    const body = JSON.stringify({args});
    await fetch(`${gateway}/v1/publish/com.example.echo`, {method: 'POST', body, headers: {'Content-Type': 'application/json'}});
    answer(res, 200, {});
  },
};

http.createServer(async (req, res) => {
  let text = '';
  for await (const chunk of req) text += chunk;
  const {args = []} = text ? JSON.parse(text) : {};
  const handler = handlers[req.url];
  if (handler) await handler(res, args);
  else answer(res, 404, {});
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
