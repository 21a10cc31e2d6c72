// A service without a port that knows nothing of WAMP. It offers procedures and hears of a topic by streams, and answers by requests.
const gateway = process.argv[2];

const send = async (path, body) => {
  const res = await fetch(`${gateway}/v1/${path}`, {
    method: 'POST', body: JSON.stringify(body), headers: {'Content-Type': 'application/json'},
  });
  await res.arrayBuffer();
  return res.status;
};

async function answer({procedure, invocation: id, args = []}) {
  switch (procedure.split('.').pop()) {
    case 'sum':
      return send(`yield/${id}`, {args: [args.reduce((a, b) => a + b, 0)]});
    case 'fail':
      return send(`error/${id}`, {error: 'com.example.bad', args: ['why']});
    case 'count':
      for (let n = 0; n < 3; n++) await send(`yield/${id}`, {args: [n], options: {progress: true}});
      return send(`yield/${id}`, {args: ['done']});
    case 'slow':
      console.log('slow');
  }
}

function take(line, ready) {
  const {ready: begun, invocation, interrupt, event} = line;
  if (begun) {
    console.log('resume', begun.resume);
    ready();
  }
  if (invocation) answer(invocation).catch(console.error);
  if (interrupt) console.log('interrupt', interrupt.reason);
  if (event) {
    console.log('news', ...event.args);
    send('publish/com.example.echo', {args: event.args}).catch(console.error);
  }
}

// read reads a stream of lines of JSON for ever.
async function read(path, ready) {
  let last;
  for (;;) {
    try {
      const res = await fetch(gateway + path, {headers: {Accept: 'application/jsonl', ...(last && {'Last-Event-ID': last})}});
      if (!res.ok) throw new Error(res.status);
      let rest = '';
      for await (const chunk of res.body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop();
        for (const text of lines) {
          const line = JSON.parse(text);
          last = line.id ?? last;
          take(line, ready);
        }
      }
    } catch {
      // it is tried again
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const paths = [...['sum', 'fail', 'slow', 'count'].map((name) => `/v1/register/com.example.${name}`), '/v1/subscribe/com.example.news'];
Promise.all(paths.map((path) => new Promise((ready) => read(path, ready)))).then(() => console.log('ready'));
