import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DualPublisher, type CopyCount, type LegRequest, type SettledCall } from '../src/index.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { routingState, testBrokers, TwoLegs, until } from './publisher-fixture.js';

describe('metrics of DualPublisher', () => {
  let legs: TwoLegs;
  let writer: RoutingWriter;
  let publisher: DualPublisher;
  const calls: SettledCall[][] = [];
  const requests: LegRequest[] = [];
  const copies: CopyCount[] = [];
  const metrics = {
    settled: (settled: readonly SettledCall[]) => calls.push([...settled]),
    request: (request: LegRequest) => requests.push(request),
    copies: (count: CopyCount) => copies.push(count),
  };

  beforeEach(async () => {
    for (const all of [calls, requests, copies]) all.length = 0;
    legs = await TwoLegs.open();
    writer = new RoutingWriter({ connection: { brokers: testBrokers() }, clientId: 'metrics-test' });
    await writer.ensureTopics();
  });

  afterEach(async () => {
    await publisher.close({ timeoutMs: 2_000 });
    await writer.close();
    await legs.close();
  });

  const sum = (leg: string, outcome: string): number =>
    copies.reduce((all, count) => all + (count.leg === leg && count.outcome === outcome ? count.count : 0), 0);
  const outcomes = (): string[] => calls.flat().map(({ leg, outcome }) => `${leg ?? 'none'} ${outcome}`);
  const messages = (leg: string, outcome: string): number =>
    requests.reduce((all, each) => all + (each.leg === leg && each.outcome === outcome ? each.messages : 0), 0);

  it('count calls, requests and copies of each leg, before and after the cutover', async () => {
    const { migration, topic } = legs;
    const state = { migration, topics: [topic], ratio: 1, leaseMs: 60_000 };
    await writer.write(routingState({ ...state, epoch: 1 }));
    publisher = new DualPublisher({ ...legs.options, migration, metrics, maxBacklogMessages: 20 });
    await publisher.connect();
    await Promise.all(Array.from({ length: 100 }, (_, n) => publisher.publish(topic, `${n}`, { partition: n % 4 })));
    await publisher.flush();
    expect(outcomes()).toEqual(Array.from({ length: 100 }, () => 'kafka published'));
    expect(calls.flat().every((call) => call.topic === topic && call.ms > 0)).toBe(true);
    // Not one call each: those that were settled together are told together.
    expect(calls.length).toBeLessThan(50);
    expect(messages('kafka', 'answered')).toBe(100);
    await until('all is told', () => sum('owlmq', 'written') + sum('owlmq', 'dropped') === 100);
    expect(sum('owlmq', 'dropped')).toBe(publisher.status().dropped);
    expect(messages('owlmq', 'answered')).toBe(sum('owlmq', 'written'));
    for (const request of requests) expect(request.ms).toBeGreaterThan(0);
    for (const { leg, topic: of } of requests) expect(of).toBe(leg === 'kafka' ? undefined : topic);

    legs.owlmqLink.cut();
    await publisher.publish(topic, 'x');
    await until('a request fails', () => messages('owlmq', 'failed') > 0);
    legs.owlmqLink.restore();
    await publisher.flush();

    for (const all of [calls, requests, copies]) all.length = 0;
    await writer.write(routingState({ ...state, epoch: 2, primary: 'owlmq', live: 'owlmq' }));
    await until('it is applied', () => publisher.status().epoch === 2);
    await Promise.all(Array.from({ length: 10 }, () => publisher.publish(topic, 'x')));
    await until('all is told', () => sum('kafka', 'written') === 10);
    expect(outcomes()).toEqual(Array.from({ length: 10 }, () => 'owlmq published'));
    expect([messages('owlmq', 'answered'), messages('kafka', 'answered')]).toEqual([10, 10]);
  });

  it('name the code of what failed, and do no harm when they throw', async () => {
    const { migration, topic } = legs;
    await writer.write(routingState({ migration, topics: [topic], epoch: 1, fence: { reason: 'test' } }));
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => {
      warnings.push(warning);
    };
    process.on('warning', onWarning);
    const settled = (all: readonly SettledCall[]): void => {
      metrics.settled(all);
      throw new Error('planted');
    };
    publisher = new DualPublisher({ ...legs.options, migration, metrics: { settled }, holdTimeoutMs: 300 });
    const controller = new AbortController();
    const aborted = publisher.publish(topic, 'x', { signal: controller.signal });
    controller.abort();
    const results = await Promise.allSettled([aborted, publisher.publish(topic, 'x'), publisher.publish('', 'x')]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(outcomes()).toEqual(['none publish-aborted', 'none publish-held-timeout']);
    await until('it is warned', () => warnings.length > 0);
    process.off('warning', onWarning);
    expect(warnings[0]?.message).toBe('planted');
    expect(requests).toEqual([]);
  });
});
