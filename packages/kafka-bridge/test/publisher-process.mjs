// A publisher in a process of its own, that a test can stop, continue and kill. Runs what was built (`npm run build`).
import { DualPublisher } from '../dist/index.js';

const { topic, everyMs, keys = 3, ...options } = JSON.parse(process.argv[2]);
const publisher = new DualPublisher({ ...options, onEvent: (event) => event.type === 'routing' && tell(event) });

function tell(message) {
  if (process.connected) process.send(message);
}

await publisher.connect();
tell({ type: 'connected', instance: publisher.instance });

let next = 0;
const timer = setInterval(() => {
  const n = next++;
  publisher.publish(topic, String(n), { key: `${options.name ?? 'p'}-${n % keys}` }).then(
    ({ epoch, kafka, owlmq }) => tell({ type: 'outcome', n, epoch, kafka, owlmq }),
    ({ name, reason }) => tell({ type: 'outcome', n, error: name, reason }),
  );
}, everyMs);

process.on('message', async (message) => {
  if (message === 'status') tell({ type: 'status', ...publisher.status() });
  if (message !== 'close') return;
  clearInterval(timer);
  await publisher.close({ timeoutMs: 5_000 });
  tell({ type: 'closed', sent: next });
  process.disconnect();
});
