import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import {
  DualPublisher,
  PublishAbortedError,
  PublishBatchError,
  PublishBufferFullError,
  PublisherClosedError,
  PublisherConfigError,
  PublisherFlushTimeoutError,
  PublishFailedError,
  PublishHeldTimeoutError,
  PublishInputError,
  PublishOutcomeUnknownError,
  type DualPublisherOptions,
  type PartitionOffset,
  type PublisherError,
  type PublisherMetrics,
  type PublishError,
  type PublishOptions,
  type PublishResult,
  type Retriable,
} from '../src/index.js';

// What is said of types is checked by `npm run typecheck`, which compiles this file.
const kafka = { brokers: ['127.0.0.1:9092'] };

describe('the options of DualPublisher', () => {
  it('are those of the playbook, to the letter', async () => {
    vi.stubEnv('OWLMQ_URL', 'http://127.0.0.1:1');
    try {
      const publisher = new DualPublisher({
        kafka: { brokers: ['127.0.0.1:1'] },
        owlmq: { apiKey: process.env.OWLMQ_API_KEY },
        ratio: 0.0, // Start at 0% OwlMQ traffic
      });
      expectTypeOf<DualPublisher['publish']>().toBeCallableWith('orders.created', { order: 1 });
      expect(publisher.status().state).toBe('publishing');
      await publisher.close();
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('have a migration or a ratio', () => {
    expectTypeOf({ kafka, migration: 'orders' }).toExtend<DualPublisherOptions>();
    expectTypeOf({ kafka, ratio: 0.5 }).toExtend<DualPublisherOptions>();
    expectTypeOf({ kafka }).toExtend<DualPublisherOptions>();
    // @ts-expect-error: Kafka is needed.
    expect(() => new DualPublisher({ ratio: 0.5 })).toThrow(PublisherConfigError);
    // Not by type: services that put their options together from parts could not be typed then.
    expect(() => new DualPublisher({ kafka, migration: 'orders', ratio: 0.5 })).toThrow(/cannot both be given/);
  });

  it('leave out what the publisher does itself', () => {
    const producer = { idempotent: true, maxInFlightRequests: 1 };
    expectTypeOf({ kafka, producer }).toExtend<DualPublisherOptions>();
    // @ts-expect-error: no transactions.
    const options: DualPublisherOptions = { kafka, producer: { transactionalId: 'x' } };
    expect(() => new DualPublisher(options)).toThrow(/transactionalId/);
  });
});

describe('publish()', () => {
  it('takes and gives what it says', () => {
    expectTypeOf<DualPublisher['publish']>().parameter(2).toEqualTypeOf<PublishOptions | undefined>();
    expectTypeOf<DualPublisher['publish']>().returns.resolves.toEqualTypeOf<PublishResult>();
    expectTypeOf<DualPublisher['publishBatch']>().returns.resolves.toEqualTypeOf<PublishResult[]>();
    expectTypeOf<PublishResult>().toEqualTypeOf<{
      id: string;
      epoch: number;
      kafka?: PartitionOffset;
      owlmq?: PartitionOffset;
    }>();
    expectTypeOf<PublishOptions['signal']>().toEqualTypeOf<AbortSignal | undefined>();
  });
});

describe('errors', () => {
  const closed = new PublisherClosedError();
  const failed = new PublishFailedError('id', 'topic', 'why', { retriable: 'no' });
  const unknown = new PublishOutcomeUnknownError('id', 'topic', 'owlmq', { cause: closed });
  const rejected = (reason: Error): PromiseSettledResult<string> => ({ status: 'rejected', reason });
  const fulfilled: PromiseSettledResult<string> = { status: 'fulfilled', value: 'x' };

  it('are told apart by their codes, in full', () => {
    // A new error without a line here does not compile.
    const what = (error: PublisherError): Retriable => {
      switch (error.code) {
        case 'publisher-config':
        case 'publish-input':
          return error.retriable satisfies 'no';
        case 'publish-failed':
        case 'publish-buffer-full':
          return error.retriable satisfies 'safe' | 'no';
        case 'publish-outcome-unknown':
          expectTypeOf(error.leg).toEqualTypeOf<'kafka' | 'owlmq'>();
          return error.retriable satisfies 'same-id';
        case 'publish-held-timeout':
          expectTypeOf(error.reason).toEqualTypeOf<'fence' | 'lease-lost' | 'backlog'>();
          return error.retriable satisfies 'safe';
        case 'publish-aborted':
        case 'publisher-closed':
        case 'publisher-flush-timeout':
        case 'routing-unavailable':
        case 'kafka-connect':
          return error.retriable satisfies 'safe';
        case 'publish-batch':
          expectTypeOf(error.outcomes).toExtend<readonly PromiseSettledResult<unknown>[]>();
          return error.retriable;
        default:
          return error satisfies never;
      }
    };
    expectTypeOf<PublishError['retriable']>().toEqualTypeOf<Retriable>();
    expectTypeOf<Exclude<PublisherError, PublishError>['code']>().toEqualTypeOf<
      'publish-batch' | 'publisher-config' | 'publisher-flush-timeout'
    >();
    const errors: PublisherError[] = [
      new PublisherConfigError(['x']),
      new PublishInputError('x'),
      failed,
      unknown,
      new PublishHeldTimeoutError('id', 'topic', 'fence', 1),
      new PublishBufferFullError('x', 'safe'),
      new PublishAbortedError('id', 'topic', { cause: 'why' }),
      closed,
      new PublisherFlushTimeoutError(1, 2, 3),
      new PublishBatchError([rejected(closed)]),
    ];
    expect(errors.map(what)).toEqual(['no', 'no', 'no', 'same-id', 'safe', 'safe', 'safe', 'safe', 'safe', 'safe']);
    for (const error of errors) expect(error.name).toBe(error.constructor.name);
  });

  it('of a batch say what repeating it as a whole would do', () => {
    const hint = (...outcomes: PromiseSettledResult<string>[]) => new PublishBatchError(outcomes).retriable;
    expect(hint(rejected(closed), rejected(closed))).toBe('safe');
    expect(hint(rejected(closed), fulfilled)).toBe('same-id');
    expect(hint(rejected(closed), rejected(unknown))).toBe('same-id');
    expect(hint(rejected(unknown), rejected(failed), fulfilled)).toBe('no');
  });
});

describe('PublisherMetrics', () => {
  it('is for any library: each part of it can be left out', () => {
    expectTypeOf({}).toExtend<PublisherMetrics>();
    expectTypeOf<NonNullable<PublisherMetrics['settled']>>().parameter(0).items.toExtend<{
      topic: string;
      leg: 'kafka' | 'owlmq' | undefined;
      ms: number;
    }>();
    type Outcome = Parameters<NonNullable<PublisherMetrics['settled']>>[0][number]['outcome'];
    expectTypeOf<Outcome>().toEqualTypeOf<'published' | PublishError['code']>();
  });
});
