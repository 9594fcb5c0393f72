import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';

const brokers = (process.env['KAFKA_BROKERS'] ?? '').split(',');

it('lets many create the same topic at the same time, and tells one of them that it did', async () => {
  const admins = Array.from(
    { length: 8 },
    (_, index) => new ClusterAdmin({ brokers }, { clientId: `creator-${index}` }),
  );
  try {
    for (let round = 0; round < 5; round += 1) {
      const topic = `created-together-${randomUUID()}`;
      const created = await Promise.all(admins.map((admin) => admin.createTopic(topic, { partitions: 1 })));
      expect(created.filter((own) => own)).toHaveLength(1);
    }
  } finally {
    await Promise.all(admins.map((admin) => admin.close()));
  }
});
