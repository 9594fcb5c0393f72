import { describe, expect, it } from 'vitest';
import { invoiceOf } from '../../../battery/handler.js';
import { equivalents, mutations, type Handler } from '../../../battery/mutations.js';
import { messageOf } from '../../../battery/orders.js';
import { compareOutcomes } from '../src/comparator/verdicts.js';
import type { ReceivedMessage } from '../src/consumer/consumed-message.js';
import { deterministicSources } from '../src/consumer/deterministic-sources.js';
import type { Observation, ObservingSide } from '../src/consumer/observation.js';
import type { Outcome } from '../src/consumer/observer.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { idleObserver } from './idle-observer.js';

const MESSAGES = 1_000;
const state = { live: 'kafka', shadow: 'compare', ratio: 1, epoch: 1 } as RoutingState;
const observer = idleObserver(state);

function received(side: ObservingSide, index: number): ReceivedMessage {
  const { id, key, value, headers } = messageOf(index);
  return {
    provenance: { id, copied: true } as ReceivedMessage['provenance'],
    message: {
      topic: 't',
      partition: 0,
      key: Buffer.from(key),
      value: Buffer.from(value),
      headers: { region: Buffer.from(headers.region) },
      timestamp: 1_700_000_000_000 + index,
      id,
      position: side === 'live' ? { leg: 'kafka', kafka: index } : { leg: 'owlmq', kafka: index, owlmq: index },
    },
  };
}

function observe(side: ObservingSide, handler: Handler, index: number): Observation {
  const one = received(side, index);
  const context = { ...deterministicSources('g', one.message), signal: new AbortController().signal };
  let outcome: Outcome;
  try {
    outcome = { output: handler(one.message, context) };
  } catch (error) {
    outcome = { error: error as Error };
  }
  const observation = observer.observation(side, one, outcome);
  if (observation === undefined) throw new Error('Nothing was observed.');
  return observation;
}

/** Messages until a difference is found; undefined when there is none in all of them. */
function foundAfter(make: () => Handler): number | undefined {
  const handler = make();
  for (let index = 0; index < MESSAGES; index += 1) {
    const told = compareOutcomes(observe('live', invoiceOf, index), observe('shadow', handler, index));
    if (told !== 'matched') return index + 1;
  }
  return undefined;
}

describe(`in ${MESSAGES} orders`, () => {
  it.each(mutations)('$name is found', ({ make }) => {
    expect(foundAfter(make)).toBeDefined();
  });

  it.each(equivalents)('$name is no difference', ({ make }) => {
    expect(foundAfter(make)).toBeUndefined();
  });
});
