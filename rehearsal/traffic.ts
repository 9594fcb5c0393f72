import { type MigrationPlan, planSteps } from '@owlmq/kafka-bridge/playbook';
import type { SystemsOptions } from './state/systems.js';

const DAY = 24 * 3_600_000;
const PARTITIONS_EACH = 3;
const PUBLISHERS = 3;
const CONSUMERS_EACH = 2;
/** Between two messages of a topic, where nothing asks for more: before the cutover, and after it. */
const BEFORE_MS = 2_000;
const AFTER_MS = 20_000;
/** A model keeps each message that it was given. */
const MOST_MESSAGES = 20_000_000;
const DROPPED_EVERY = 1_000;

/** What the input asks for is more than a model can hold. */
export class TooMuchTrafficError extends Error {
  override readonly name = 'TooMuchTrafficError';
}

/**
 * A fleet and traffic that give this plan what it wants to see: enough copies for each step of the ramp, enough
 * comparisons for the soak.
 *
 * @throws {TooMuchTrafficError}
 */
export function trafficFor(plan: MigrationPlan, seed: number): SystemsOptions {
  const { topics, groups, ramp, soak, noise, warm, forward } = plan;
  const before = Math.min(
    BEFORE_MS,
    soak.duration / (3 * soak.minComparisons),
    (ramp.interval * ramp.step) / (4 * Math.max(1, ramp.gates.minCopies)),
    noise.duration === 0 ? Infinity : noise.duration / (3 * noise.minComparisons),
  );
  const after = Math.max(before, Math.min(AFTER_MS, warm.duration / 100));
  const beforeMs = planSteps(plan)
    .filter(({ phase }) => phase !== 'warm')
    .reduce((sum, { atLeastMs }) => sum + atLeastMs, 0);
  const messages = topics.length * ((2 * beforeMs) / before + (warm.duration + DAY) / after);
  if (messages > MOST_MESSAGES) {
    throw new TooMuchTrafficError(
      `This input asks for some ${Math.round(messages / 1e6)} million messages, and a model holds ${MOST_MESSAGES / 1e6} million: rehearse it with fewer of minComparisons or minCopies, fewer topics, or a shorter warm period.`,
    );
  }
  // Gates of 0 allow none.
  const strictest = Math.min(ramp.gates.missing, ramp.gates.copyFailures, ramp.gates.inversions ?? 1);
  return {
    topics,
    groups,
    partitionsEach: PARTITIONS_EACH,
    publishers: Math.max(PUBLISHERS, ramp.gates.minPublishers),
    consumersEach: CONSUMERS_EACH,
    intervalMs: { before, after },
    foreign: { topics: forward, untilMs: warm.duration / 2 },
    droppedEvery: Math.max(DROPPED_EVERY, 4 / strictest),
    seed,
  };
}
