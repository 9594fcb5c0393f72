import { Kafka, logLevel } from 'kafkajs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  DualConsumer,
  type ApplyHandler,
  type ConsumedMessage,
  type ConsumerStatus,
  type DualConsumerOptions,
  type FailureDecision,
  type HandlerContext,
  type ProcessContext,
  type ProcessHandler,
} from '../src/index.js';
import { ApplyGate } from '../src/consumer/apply-gate.js';
import { MessagesInHand } from '../src/consumer/handler-turn.js';
import { ShadowRunner, type LiveRunnerOptions, type ShadowRunnerOptions } from '../src/consumer/message-runner.js';
import { ObservationProducer } from '../src/consumer/observation-producer.js';
import { Observer } from '../src/consumer/observer.js';
import { OutputDigester } from '../src/consumer/output-digest.js';

const gate = new ApplyGate({ state: undefined, leaseValid: true });
const observer = new Observer({
  migration: 'orders',
  group: 'payments',
  digester: new OutputDigester({ migration: 'orders' }),
  handlerVersion: undefined,
  comparable: undefined,
  producer: new ObservationProducer(
    new Kafka({ brokers: ['127.0.0.1:1'], logLevel: logLevel.NOTHING }),
    () => undefined,
  ),
  state: () => undefined,
  onError: () => undefined,
});

describe('types of a DualConsumer', () => {
  it('tie `apply` to what `process` returns', () => {
    expectTypeOf<ProcessHandler<number>>().parameters.toEqualTypeOf<[ConsumedMessage, ProcessContext]>();
    expectTypeOf<ApplyHandler<number>>().parameters.toEqualTypeOf<[number, ConsumedMessage, HandlerContext]>();
    expectTypeOf<DualConsumerOptions<number>['comparable']>().toEqualTypeOf<
      ((output: number) => unknown) | undefined
    >();
    // Handlers that look at less are handlers too.
    expectTypeOf<() => number>().toExtend<ProcessHandler<number>>();
    expectTypeOf<(output: number) => Promise<void>>().toExtend<ApplyHandler<number>>();
    expectTypeOf<(output: string) => void>().not.toExtend<ApplyHandler<number>>();
    expectTypeOf<ReturnType<DualConsumer<number>['status']>>().toEqualTypeOf<ConsumerStatus>();
    expectTypeOf<FailureDecision>().toEqualTypeOf<'stop' | 'skip' | 'retry' | 'dead-letter'>();
  });

  it('give `apply` no source of its own randomness, and `process` all of them', () => {
    expectTypeOf<HandlerContext>().toEqualTypeOf<{ readonly signal: AbortSignal }>();
    expectTypeOf<keyof ProcessContext>().toEqualTypeOf<'signal' | 'clock' | 'random' | 'randomBytes' | 'id'>();
  });

  it('keep `apply` from the shadow, and so does the program', () => {
    expectTypeOf<ShadowRunnerOptions<number>['apply']>().toEqualTypeOf<undefined>();
    expectTypeOf<LiveRunnerOptions<number>>().not.toExtend<ShadowRunnerOptions<number>>();
    const options: ShadowRunnerOptions<number> = {
      leg: 'owlmq',
      group: 'payments',
      process: () => 1,
      gate,
      observer,
      inHand: new MessagesInHand(),
      retry: { attempts: 1, initialDelayMs: 1, maxDelayMs: 1 },
    };
    const effects = { apply: (): void => undefined };
    // @ts-expect-error -- A shadow is never given `apply`.
    expect(() => new ShadowRunner<number>({ ...options, ...effects })).toThrow(/never given `apply`/);
    expect(() => new ShadowRunner<number>(options)).not.toThrow();
  });

  it('refuse what makes no sense before anything is connected', () => {
    const options: DualConsumerOptions<number> = {
      kafka: { brokers: ['127.0.0.1:1'] },
      groupId: 'payments',
      topics: ['orders'],
      process: () => 1,
      apply: () => undefined,
    };
    for (const concurrency of [0, 1.5, 1_001, NaN]) {
      expect(() => new DualConsumer({ ...options, concurrency })).toThrow(RangeError);
    }
    expect(() => new DualConsumer({ ...options, handlerVersion: 'v'.repeat(101) })).toThrow(RangeError);
    expect(() => new DualConsumer({ ...options, deadLetterTopic: 'orders' })).toThrow(/orders/);
    expect(new DualConsumer(options).status()).toMatchObject({ phase: 'new', paused: false, partitions: [] });
  });
});
