// A consumer in a process of its own, that a test can stop, continue and kill. Runs what was built (`npm run build`).
import { setTimeout as sleep } from 'node:timers/promises';
import { DualConsumer } from '../dist/index.js';

const { handleMs, ...options } = JSON.parse(process.argv[2]);
const consumer = new DualConsumer({
  ...options,
  process: ({ value }) => value.toString(),
  apply: async (value, { position, partition }) => {
    await sleep(handleMs);
    tell({ type: 'applied', value, leg: position.leg, partition });
  },
  onError: () => undefined,
});

function tell(message) {
  if (process.connected) process.send(message);
}

await consumer.start();
tell({ type: 'started', instance: consumer.instance });

process.on('message', async (message) => {
  if (message !== 'stop') return;
  await consumer.stop();
  tell({ type: 'stopped' });
  process.disconnect();
});
