import { describe, expect, it } from 'vitest';
import type { ReceivedMessage } from '../src/consumer/consumed-message.js';
import type { Leg } from '../src/message/headers.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { idleObserver } from './idle-observer.js';

const shadowFrom = { orders: [100] };

/** Whether the live side, and a shadow on each leg, observe a message under a state. */
function observed(
  state: Partial<RoutingState>,
  { copied, kafka }: { copied: boolean; kafka: number },
): { live: boolean; onKafka: boolean; onOwlmq: boolean } {
  const observer = idleObserver({ ...standing, ...state });
  const received = (leg: Leg): ReceivedMessage => ({
    provenance: { id: 'one', copied, epoch: 1, sequence: undefined, source: undefined, via: undefined },
    message: {
      ...{ topic: 'orders', partition: 0, key: null, value: null, headers: {}, timestamp: 1, id: 'one' },
      position: { leg, kafka },
    },
  });
  return {
    live: observer.wants('live', received('kafka')),
    onKafka: observer.wants('shadow', received('kafka')),
    onOwlmq: observer.wants('shadow', received('owlmq')),
  };
}

const standing: RoutingState = {
  ...{ version: 1, migration: 'm', epoch: 1, topics: ['orders'], groups: ['g'], ratio: 0, leaseMs: 1_000 },
  ...{ primary: 'kafka', mirror: true, live: 'kafka', shadow: 'off', writtenAt: '', reason: '' },
};
const copied = { copied: true, kafka: 100 };
const notCopied = { copied: false, kafka: 100 };

describe('what is observed', () => {
  it.each<[string, Partial<RoutingState>, { copied: boolean; kafka: number }, string]>([
    ['nothing while shadows are off', {}, copied, ''],
    ['copies on the live side, before shadows run', { shadow: 'observe' }, copied, 'live'],
    ['copies on both legs', { shadow: 'compare', shadowFrom }, copied, 'live onOwlmq'],
    ['no message without a copy', { shadow: 'compare', shadowFrom }, notCopied, ''],
    ['every record on the live side, before a measurement of noise', { shadow: 'noise' }, notCopied, 'live'],
    ['every record on Kafka alone', { shadow: 'noise', shadowFrom }, notCopied, 'live onKafka'],
    ['nothing before a measurement', { shadow: 'noise', shadowFrom }, { copied: true, kafka: 99 }, ''],
    ['nothing once OwlMQ is live', { shadow: 'noise', shadowFrom, live: 'owlmq' }, copied, ''],
  ])('%s', (_, state, message, wanted) => {
    const sides = Object.entries(observed(state, message)).flatMap(([side, is]) => (is ? [side] : []));
    expect(sides.join(' ')).toBe(wanted);
  });
});
