// Opens event streams in Chromium, each in a tab of its own, as lines on stdin say: "open NAME PATH", "close NAME". Prints what the pages see.
import {createInterface} from 'node:readline';
import {chromium} from 'playwright-core';

const base = process.argv[2];
const browser = await chromium.launch({
  executablePath: process.argv[3],
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});
const context = await browser.newContext();
const tabs = new Map();

async function open(name, path) {
  const page = await context.newPage();
  tabs.set(name, page);
  page.on('console', (m) => console.log(`${name}: ${m.text()}`));
  await page.route('**/page', (route) => route.fulfill({contentType: 'text/html', body: '<p>a page of the gateway\'s origin'}));
  await page.goto(base + '/page');
  await page.evaluate((url) => {
    const source = new EventSource(url);
    source.addEventListener('wamp.ready', (e) => console.log('ready ' + JSON.parse(e.data).resume));
    source.addEventListener('wamp.gap', () => console.log('gap'));
    source.addEventListener('wamp.bye', () => console.log('bye'));
    source.onmessage = (e) => console.log('event ' + JSON.parse(e.data).args[0]);
    source.onerror = () => console.log(source.readyState === EventSource.CLOSED ? 'closed' : 'reconnecting');
  }, path);
  console.log(`${name}: open`);
}

console.log('browser');
for await (const line of createInterface({input: process.stdin})) {
  const [what, name, path] = line.split(' ');
  if (what === 'open') await open(name, path);
  if (what === 'close') await tabs.get(name).close();
}
await browser.close();
