// A forward audit in a process of its own, that a test can kill. Runs what was built (`npm run build`).
import { ForwardAudit, OwlmqClient } from '../dist/operations.js';

const { owlmq, stepMs, ...options } = JSON.parse(process.argv[2]);
const client = new OwlmqClient(owlmq);
const audit = new ForwardAudit({ ...options, owlmq: client });

let peakBytes = 0;
const sampling = setInterval(() => {
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  peakBytes = Math.max(peakBytes, arrayBuffers + heapUsed);
}, 5);

for (;;) {
  const { checkpoint, complete } = await audit.step({ maxMs: stepMs });
  process.send({ checkpoint, complete, peakBytes });
  if (complete) break;
}
clearInterval(sampling);
await Promise.all([audit.close(), client.close()]);
process.disconnect();
