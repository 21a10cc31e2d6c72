// Prints the events of a stream, as an EventSource sees them.
import {EventSource} from 'eventsource';
const source = new EventSource(process.argv[2]);
source.addEventListener('wamp.ready', () => console.log('ready'));
source.addEventListener('wamp.bye', () => { console.log('bye'); source.close(); });
source.onmessage = (event) => console.log(event.data);
