import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DualConsumer, type DualConsumerOptions } from '../src/consumer/dual-consumer.js';
import { DualPublisher } from '../src/publisher/dual-publisher.js';
import type { DualPublisherOptions } from '../src/publisher/publisher-options.js';
import { keepFinalState } from '../src/routing/final-state.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { Bench, until } from './consumer-harness.js';

/** A port of this machine that nothing listens on. */
const GONE = { brokers: ['127.0.0.1:1'], retry: { retries: 0 } };

let bench: Bench;
let applied: string[];
const open: { close: () => Promise<void> }[] = [];

beforeEach(async () => {
  applied = [];
  bench = await Bench.open(2);
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
  await bench.close();
});

/** The final state as the decommission leaves it. */
async function decommission(): Promise<RoutingState> {
  const final = await bench.route({ primary: 'owlmq', live: 'owlmq', mirror: false });
  await keepFinalState(bench.owlmq, final);
  return final;
}

function publisher(kafka: DualPublisherOptions['kafka']): DualPublisher {
  const { migration, owlmq } = bench.options();
  const made = new DualPublisher({ kafka, migration, owlmq, deliveryTimeoutMs: 3_000 });
  open.push({ close: () => made.close({ timeoutMs: 1_000 }) });
  return made;
}

function consumer(kafka: DualConsumerOptions<string>['kafka']): DualConsumer<string> {
  const made = new DualConsumer({
    ...bench.options(),
    kafka,
    process: ({ value }) => value?.toString() ?? '',
    apply: (value) => {
      applied.push(value);
    },
    onError: () => undefined,
    startTimeoutMs: 8_000,
  });
  open.push({ close: () => made.stop() });
  return made;
}

describe('members that start after the decommission, with Kafka gone', () => {
  it.each([
    ['is said to be', 'decommissioned' as const],
    ['does not answer', GONE],
  ])(
    'work with OwlMQ alone where Kafka %s',
    async (_, kafka) => {
      const final = await decommission();
      const [sends, applies] = [publisher(kafka), consumer(kafka)];
      await applies.start();
      const published = await sends.publish(bench.topic, 'one', { key: 'key-1' });
      expect(published).toMatchObject({ epoch: final.epoch, owlmq: { offset: 0 } });
      expect(published.kafka).toBeUndefined();
      await until(() => applied.length > 0 || undefined);
      expect(applied).toEqual(['one']);
      expect(sends.status()).toMatchObject({ epoch: final.epoch, state: 'publishing', mirrorDegraded: false });
      expect(applies.status()).toMatchObject({ live: 'owlmq', joined: true, leaseValid: true });
      // Nobody else would take it.
      await expect(sends.publish('of-no-migration', 'x')).rejects.toMatchObject({ name: 'PublishFailedError' });
    },
    60_000,
  );

  it('are refused while OwlMQ keeps no final state, whatever Kafka says', async () => {
    await bench.route({});
    const refusal = {
      code: 'routing-unavailable',
      message: expect.stringContaining('OwlMQ keeps no final') as unknown,
    };
    await expect(publisher('decommissioned').publish(bench.topic, 'x')).rejects.toMatchObject(refusal);
    await expect(consumer('decommissioned').start()).rejects.toMatchObject(refusal);
    // Another migration's end says nothing of this one.
    const final = await bench.route({ primary: 'owlmq', live: 'owlmq', mirror: false });
    await keepFinalState(bench.owlmq, { ...final, migration: 'another' });
    await expect(publisher('decommissioned').connect()).rejects.toMatchObject(refusal);
    await expect(publisher(GONE).connect()).rejects.toMatchObject({ name: 'KafkaConnectError' });
  });

  it('go by Kafka where it answers, as ever', async () => {
    const final = await decommission();
    await bench.writer.write({ ...final, epoch: final.epoch + 1, primary: 'kafka', live: 'kafka', mirror: true });
    const sends = publisher(bench.connection);
    const published = await sends.publish(bench.topic, 'one', { key: 'key-1' });
    expect(published).toMatchObject({ epoch: final.epoch + 1, kafka: { offset: 0 } });
  });

  it('are refused with what to do when OwlMQ does not answer either', async () => {
    await decommission();
    const { migration } = bench.options();
    const nobody = { url: 'http://127.0.0.1:1', apiKey: 'k' };
    const alone = new DualPublisher({ kafka: 'decommissioned', migration, owlmq: nobody });
    await expect(alone.connect()).rejects.toThrow(/OwlMQ does not answer: .*begins by the final routing state/);
    await alone.close();
  });

  it('need the name of the migration', () => {
    const { owlmq, groupId, topics } = bench.options();
    expect(() => new DualPublisher({ kafka: 'decommissioned', owlmq })).toThrow(/needs the migration/);
    const handler = { process: () => '', apply: () => undefined };
    expect(() => new DualConsumer({ kafka: 'decommissioned', owlmq, groupId, topics, ...handler })).toThrow(
      /needs the migration/,
    );
  });

  it('find no state that could be followed by another', async () => {
    const state = await bench.route({});
    await expect(keepFinalState(bench.owlmq, state)).rejects.toThrow(/not final/);
    const final = await decommission();
    await keepFinalState(bench.owlmq, final);
    expect((await bench.owlmq.describeTopic('owlmq-bridge.final-states'))?.partitions[0]?.endOffset).toBe(1);
  });
});
