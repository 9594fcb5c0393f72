import type { Kafka, Message } from 'kafkajs';
import { expect, it } from 'vitest';
import { ObservationProducer, ObservationsLostError } from '../src/consumer/observation-producer.js';
import { decodeObservation, type Observation } from '../src/consumer/observation.js';

function observations(from: number, to: number): Observation[] {
  return Array.from({ length: to - from }, (_, index) => ({
    ...{ version: 2, migration: 'm', group: 'g', side: 'live', topic: 'orders', partition: 0, id: `${from + index}` },
    ...{ kafka: from + index, time: 1, key: null, epoch: 1 },
  }));
}

it('gives up with a request to Kafka all that was written behind it, so that what is written again is in order', async () => {
  const stored: number[] = [];
  let sends = 0;
  // Kafka cannot be made to refuse one request and take the next.
  const kafka = {
    producer: () => ({
      send: async ({ messages }: { messages: Message[] }) => {
        sends += 1;
        if (sends === 1) await Promise.reject(new Error('not now'));
        for (const { value } of messages) stored.push(decodeObservation(Buffer.from(value ?? ''))?.kafka ?? -1);
      },
    }),
  } as unknown as Kafka;
  const told: Error[] = [];
  const producer = new ObservationProducer(kafka, (error) => told.push(error), -1);
  const written = await Promise.allSettled([
    producer.write(observations(0, 1_200)),
    producer.write(observations(1_200, 1_300)),
  ]);
  expect(written.map((one) => one.status === 'rejected' && one.reason instanceof ObservationsLostError)).toEqual([
    true,
    true,
  ]);
  expect(stored).toEqual([]);
  expect(told).toMatchObject([{ count: 1_300 }]);
  await producer.write(observations(0, 1_300));
  expect(stored).toEqual(Array.from({ length: 1_300 }, (_, offset) => offset));
});
