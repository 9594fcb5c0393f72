import { DualConsumer, type DualConsumerOptions, type ProcessHandler } from '@owlmq/kafka-bridge';

type Given = Pick<DualConsumerOptions<unknown>, 'kafka' | 'owlmq' | 'migration' | 'groupId' | 'topics' | 'concurrency'>;

/** A consumer of orders that has no effects, and goes on behind those that its handler fails on. */
export function orderConsumer(given: Given, process: ProcessHandler<unknown>): DualConsumer<unknown> {
  return new DualConsumer<unknown>({
    ...given,
    fromBeginning: true,
    process,
    apply: () => undefined,
    retry: { attempts: 1 },
    onFailure: () => 'skip',
    // Orders fail on purpose; whatever else goes wrong shows as a verdict.
    onError: () => undefined,
  });
}
