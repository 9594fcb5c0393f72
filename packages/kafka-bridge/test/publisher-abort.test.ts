import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DualPublisher, type DualPublisherOptions } from '../src/index.js';
import { AbortWatch } from '../src/publisher/abort-watch.js';
import { Fifo } from '../src/publisher/fifo.js';
import { newOutgoing } from '../src/publisher/outgoing.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { routingState, testBrokers, TwoLegs, until, valuesByKey } from './publisher-fixture.js';

describe('Fifo', () => {
  it('gives what was not taken out, in order', () => {
    let random = 7;
    const draw = (below: number): number =>
      ((random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0) >>> 8) % below;
    const fifo = new Fifo<{ n: number }>();
    const model: { n: number }[] = [];
    for (let n = 0; n < 20_000; n++) {
      const what = draw(10);
      if (what < 5) {
        const item = { n };
        fifo.push(item);
        model.push(item);
      } else if (what < 7) {
        expect(fifo.peek()).toBe(model[0]);
        expect(fifo.shift()).toBe(model.shift());
      } else if (what < 9 && model.length > 0) {
        const [item] = model.splice(draw(model.length), 1);
        if (item !== undefined) fifo.remove(item);
      } else if (draw(20) === 0) {
        const items = [{ n: -n }, { n: -n }];
        fifo.unshift(items);
        model.unshift(...items);
      } else if (draw(100) === 0) {
        expect(fifo.clear()).toEqual(model.splice(0));
      }
      expect(fifo.length).toBe(model.length);
    }
    expect(fifo.clear()).toEqual(model);
  });
});

describe('AbortWatch', () => {
  it('has one listener a signal, and none once its calls are settled', () => {
    const aborted: [string, unknown][] = [];
    const watch = new AbortWatch((message, reason) => {
      aborted.push([message.id, reason]);
      message.settle.reject(new Error('aborted') as never);
    });
    const settled: string[] = [];
    const call = (id: string) =>
      newOutgoing('topic', id, { id }, { resolve: () => settled.push(`${id} ok`), reject: () => settled.push(id) });
    const { signal, abort } = controllerOf();
    const calls = ['a', 'b', 'c'].map(call);
    for (const each of calls) watch.watch(each, signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    calls[1]?.settle.resolve({ id: 'b', epoch: 0 });
    abort('why');
    expect(aborted).toEqual([
      ['a', 'why'],
      ['c', 'why'],
    ]);
    expect(settled).toEqual(['b ok', 'a', 'c']);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  function controllerOf() {
    const controller = new AbortController();
    return {
      signal: controller.signal,
      abort: (reason: unknown) => {
        controller.abort(reason);
      },
    };
  }
});

describe('a signal given to publish()', () => {
  let legs: TwoLegs;
  let writer: RoutingWriter;
  const publishers: DualPublisher[] = [];
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => {
    warnings.push(warning);
  };

  beforeEach(async () => {
    legs = await TwoLegs.open();
    writer = new RoutingWriter({ connection: { brokers: testBrokers() }, clientId: 'abort-test' });
    await writer.ensureTopics();
    warnings.length = 0;
    process.on('warning', onWarning);
  });

  afterEach(async () => {
    process.off('warning', onWarning);
    await Promise.all(publishers.splice(0).map((publisher) => publisher.close({ timeoutMs: 2_000 })));
    await writer.close();
    await legs.close();
  });

  function publisherOf(change: Partial<DualPublisherOptions> = {}): DualPublisher {
    const publisher = new DualPublisher({ ...legs.options, ...change });
    publishers.push(publisher);
    return publisher;
  }

  const throughProxy = () => ({ kafka: { brokers: [legs.kafkaLink.address] } });
  const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

  async function route(epoch: number, change: Partial<RoutingState>): Promise<void> {
    const { migration, topic } = legs;
    await writer.write(routingState({ migration, epoch, topics: [topic], ...change }));
  }

  it('ends a call that was not handed to a leg: its message is on none', async () => {
    await route(1, { ratio: 1, fence: { reason: 'test' } });
    const publisher = publisherOf({ migration: legs.migration });
    const controller = new AbortController();
    const { signal } = controller;
    const kept = publisher.publish(legs.topic, 'kept', { key: 'k' });
    const ended = Array.from({ length: 50 }, (_, n) =>
      publisher.publish(legs.topic, `${n}`, { key: 'k', id: `id-${n}`, signal }),
    );
    const batch = publisher.publishBatch(legs.topic, [{ value: 'in a batch' }, { value: 'too' }], { signal });
    const last = publisher.publish(legs.topic, 'last', { key: 'k' });
    const outcomes = Promise.allSettled([...ended, batch]);
    await until('they are held', () => publisher.status().held === 54);
    const reason = new Error('the client is gone');
    controller.abort(reason);
    const settled = await outcomes;
    for (const [n, outcome] of settled.slice(0, -1).entries()) {
      const expected = { name: 'PublishAbortedError', code: 'publish-aborted', retriable: 'safe', id: `id-${n}` };
      expect(outcome).toMatchObject({ reason: { ...expected, topic: legs.topic, cause: reason } });
    }
    expect(settled.at(-1)).toMatchObject({ reason: { code: 'publish-batch', retriable: 'safe' } });
    expect(publisher.status()).toMatchObject({ held: 2, unsettled: 2 });
    expect(listeners(signal)).toBe(0);
    await route(2, { ratio: 1 });
    await Promise.all([kept, last]);
    await publisher.flush();
    for (const records of [await legs.kafkaRecords(), await legs.owlmqRecords()]) {
      expect(valuesByKey(records)).toEqual(new Map([['k', ['kept', 'last']]]));
    }
    await expect(publisher.publish(legs.topic, 'x', { signal })).rejects.toMatchObject({ cause: reason });
    expect(await legs.kafkaRecords()).toHaveLength(2);
  });

  it.each(['its signal', 'the bound on holds'])('ends the hold that is told, where %s ended the call', async (by) => {
    await route(1, { ratio: 1, fence: { reason: 'test' } });
    const publisher = publisherOf({ migration: legs.migration, holdTimeoutMs: by === 'its signal' ? 60_000 : 1_000 });
    await publisher.connect();
    const controller = new AbortController();
    const longest = (): number => publisher.status().longestHoldMs;
    const outcome = expect(publisher.publish(legs.topic, 'x', { signal: controller.signal })).rejects.toThrow();
    await until('it is held for a while', () => longest() > 700);
    const held = publisher.publish(legs.topic, 'y').catch(() => undefined);
    if (by === 'its signal') controller.abort();
    await outcome;
    const told = longest();
    // The other one came later, and is held for less than the first was.
    const soon = performance.now() + 150;
    await until('some time is over', () => performance.now() > soon);
    expect(longest()).toBe(told);
    await until('the other one is held for longer', () => by !== 'its signal' || longest() > told);
    await publisher.close({ timeoutMs: 500 });
    await held;
  });

  it('ends a call in the turn in which it was made, and while the publisher connects', async () => {
    const publisher = publisherOf({ ratio: 1 });
    const controller = new AbortController();
    const first = publisher.publish(legs.topic, 'x', { signal: controller.signal });
    controller.abort();
    await expect(first).rejects.toMatchObject({ name: 'PublishAbortedError', cause: { name: 'AbortError' } });
    await publisher.publish(legs.topic, 'warm');
    const second = new AbortController();
    const call = publisher.publish(legs.topic, 'y', { signal: second.signal });
    second.abort();
    await expect(call).rejects.toMatchObject({ name: 'PublishAbortedError' });
    await publisher.flush();
    expect(await legs.kafkaRecords()).toHaveLength(1);
  });

  it('ends the wait of a call on its way at once; the write goes on, and so does its copy', async () => {
    const publisher = publisherOf({ ...throughProxy(), ratio: 1 });
    await publisher.publish(legs.topic, '0', { key: 'k' });
    legs.kafkaLink.loseAnswers();
    const controller = new AbortController();
    const { signal } = controller;
    const call = publisher.publish(legs.topic, '1', { key: 'k', id: 'the-id', signal });
    const outcome = expect(call).rejects.toMatchObject({
      ...{ name: 'PublishOutcomeUnknownError', code: 'publish-outcome-unknown', retriable: 'same-id' },
      ...{ id: 'the-id', leg: 'kafka', cause: { name: 'PublishAbortedError', cause: 'too late' } },
    });
    await until('Kafka has it', async () => (await legs.kafkaRecords()).length === 2);
    controller.abort('too late');
    await outcome;
    expect(listeners(signal)).toBe(0);
    // It still takes its room, and flush() waits for it.
    expect(publisher.status().unsettled).toBe(1);
    legs.kafkaLink.restore();
    await publisher.flush();
    await publisher.publish(legs.topic, '2', { key: 'k' });
    await publisher.flush();
    expect(publisher.status()).toMatchObject({ unsettled: 0, kafka: { messages: 3 }, owlmq: { messages: 3 } });
    for (const records of [await legs.kafkaRecords(), await legs.owlmqRecords()]) {
      expect(valuesByKey(records).get('k')).toEqual(['0', '1', '2']);
    }
  });

  it('after cutover is answered by what OwlMQ said: unknown before, and published after its acknowledgement', async () => {
    await route(1, { primary: 'owlmq', live: 'owlmq', leaseMs: 60_000 });
    const publisher = publisherOf({ ...throughProxy(), migration: legs.migration, mirrorTimeoutMs: 60_000 });
    await publisher.publish(legs.topic, '0', { key: 'k' });
    legs.owlmqLink.loseAnswers();
    const first = new AbortController();
    const unknown = publisher.publish(legs.topic, '1', { key: 'k', signal: first.signal });
    const outcome = expect(unknown).rejects.toMatchObject({ name: 'PublishOutcomeUnknownError', leg: 'owlmq' });
    await until('OwlMQ has it', async () => (await legs.owlmqRecords()).length === 2);
    first.abort();
    await outcome;
    // A fence would still wait for it.
    expect(publisher.status().inFlight).toBe(1);
    legs.owlmqLink.restore();
    await until('it is settled', () => publisher.status().unsettled === 0);
    legs.kafkaLink.blackhole();
    const second = new AbortController();
    const acknowledged = publisher.publish(legs.topic, '2', { key: 'k', signal: second.signal });
    await until('OwlMQ has acknowledged it', () => publisher.status().owlmq.messages === 3);
    second.abort();
    expect(await acknowledged).toMatchObject({ owlmq: { offset: 2 } });
    expect(publisher.status().unsettled).toBe(1);
    legs.kafkaLink.restore();
    await publisher.flush();
    for (const records of [await legs.kafkaRecords(), await legs.owlmqRecords()]) {
      expect(valuesByKey(records).get('k')).toEqual(['0', '1', '2']);
    }
  });

  it('ends the wait for room in the buffer', async () => {
    const publisher = publisherOf({ ...throughProxy(), maxBufferedMessages: 1 });
    await publisher.publish(legs.topic, 'warm');
    legs.kafkaLink.blackhole();
    const first = publisher.publish(legs.topic, 'first', { key: 'k' });
    const controller = new AbortController();
    const waiting = publisher.publish(legs.topic, 'never', { key: 'k', signal: controller.signal });
    const ended = expect(waiting).rejects.toMatchObject({ name: 'PublishAbortedError' });
    const next = publisher.publish(legs.topic, 'next', { key: 'k' });
    expect(publisher.status().unsettled).toBe(3);
    controller.abort();
    await ended;
    expect(publisher.status().unsettled).toBe(2);
    legs.kafkaLink.restore();
    await Promise.all([first, next]);
    expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(['first', 'next']);
  });

  it('leaves no listener behind, and warns of none, with many calls', async () => {
    const publisher = publisherOf({ ratio: 1 });
    const { signal } = new AbortController();
    let most = 0;
    for (let round = 0; round < 5; round++) {
      const calls = Array.from({ length: 400 }, (_, n) =>
        n % 2 === 0
          ? publisher.publish(legs.topic, `${n}`, { signal })
          : publisher.publishBatch(legs.topic, [{ value: `${n}` }], { signal }),
      );
      most = Math.max(most, listeners(signal));
      await Promise.all(calls);
      expect(listeners(signal)).toBe(0);
    }
    expect(most).toBe(1);
    await publisher.flush();
    expect(warnings).toEqual([]);
  });

  it('must be one', async () => {
    const signal = 'no signal' as unknown as AbortSignal;
    await expect(publisherOf().publish(legs.topic, 'x', { signal })).rejects.toMatchObject({ code: 'publish-input' });
  });
});
