import { randomBytes } from 'node:crypto';
import type { Check } from '../check.js';
import { createTopic, describeTopic, listTopics } from '../requests.js';
import type { Trial } from '../trial.js';

/** Who is let in. */
export const authChecks: readonly Check[] = [
  {
    name: 'auth.missing-key',
    section: 'Conventions',
    expected: 'a request without Authorization is answered with 401 unauthorized, and does nothing',
    needs: [],
    run: (trial) => refusedFor(trial, null),
  },
  {
    name: 'auth.wrong-key',
    section: 'Conventions',
    expected: 'a request with another key is answered with 401 unauthorized, and does nothing',
    needs: [],
    run: (trial) => refusedFor(trial, randomBytes(24).toString('hex')),
  },
];

async function refusedFor(trial: Trial, apiKey: string | null): Promise<string> {
  const topic = trial.name('not-allowed');
  await trial.refused({ ...listTopics(), apiKey }, 401, 'unauthorized');
  await trial.refused({ ...createTopic(topic, { partitions: 1 }), apiKey }, 401, 'unauthorized');
  await trial.refused(describeTopic(topic), 404, 'unknown-topic', 'a topic that was not allowed to be made');
  return 'reading and creating were refused with 401; no topic was made';
}
