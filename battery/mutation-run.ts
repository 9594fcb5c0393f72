import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { DualConsumer } from '@owlmq/kafka-bridge';
import { ObservationComparison, type ComparisonReport } from '@owlmq/kafka-bridge/operations';
import { invoiceOf } from './handler.js';
import { equivalents, mutations, type Handler, type Mutation } from './mutations.js';
import { indexOf, messageOf } from './orders.js';
import { orderConsumer } from './order-consumer.js';
import { BatteryError, PUBLISH_EVERY_MS, Rig } from './rig.js';

export interface MutationRunOptions {
  latenessMs: number;
  /** Orders a second. */
  rate: number;
  signal: AbortSignal;
  log: (line: string) => void;
}

/** What became of a mutation. */
export interface MutationOutcome {
  mutation: Mutation;
  /** Time from the acknowledgement of the first message that shows it to the verdict, ms; undefined: never found. */
  foundAfterMs?: number;
  verdict?: string;
  fields?: string[];
  /** Pairs compared by then, or in all. */
  compared: number;
}

export interface MutationRunReport {
  found: MutationOutcome[];
  equivalent: MutationOutcome[];
  /** Whether each mutation was found within the lateness, and no equivalent at all. */
  ok: boolean;
}

const PARTITIONS = 6;
/** Messages that each equivalent is compared on, at least. */
const ENOUGH = 2_000;
const LONGEST_MS = 120_000;
/** Verdicts on what handlers did, as against where messages are. */
const OF_HANDLERS: readonly string[] = ['different', 'failedLive', 'failedShadow'];

/** Every mutation runs as the shadow of the right handler, all at once, in a group of its own, until it is found. */
export async function runMutations({ latenessMs, rate, signal, log }: MutationRunOptions): Promise<MutationRunReport> {
  const all = [...mutations, ...equivalents];
  const groupOf = new Map(all.map((mutation) => [mutation, mutation.name.replaceAll(' ', '-')]));
  const groups = [...groupOf.values()];
  const rig = await Rig.open({ groups, partitions: PARTITIONS, signal, log });
  const consumers: DualConsumer<unknown>[] = [];
  let comparison: ObservationComparison | undefined;
  try {
    for (const [mutation, groupId] of groupOf) consumers.push(shadowedBy(mutation, groupId, rig));
    log(`${consumers.length} groups join …`);
    await Promise.all(consumers.map((consumer) => consumer.start()));
    const soak = await rig.startSoak(consumers.length);
    comparison = new ObservationComparison({
      ...{ connection: rig.connection, migration: rig.migration, roster: rig.roster, groups, latenessMs },
      ...soak,
    });
    const outcomes = await untilFound(rig, comparison, groupOf, { rate, signal });
    const found = mutations.flatMap((mutation) => outcomes.get(mutation) ?? []);
    const equivalent = equivalents.flatMap((mutation) => outcomes.get(mutation) ?? []);
    const inTime = ({ foundAfterMs }: MutationOutcome): boolean => (foundAfterMs ?? Infinity) <= latenessMs;
    const clean = ({ foundAfterMs, compared }: MutationOutcome): boolean =>
      foundAfterMs === undefined && compared >= ENOUGH;
    const ok = found.every(inTime) && equivalent.every(clean);
    return { found, equivalent, ok };
  } finally {
    await comparison?.close();
    await Promise.all(consumers.map((consumer) => consumer.stop({ graceMs: 1_000 })));
    await rig.close();
  }
}

function shadowedBy(mutation: Mutation, groupId: string, rig: Rig): DualConsumer<unknown> {
  const mutated = mutation.make();
  return orderConsumer({ ...rig.consumed, groupId }, (message, context) =>
    message.position.leg === 'owlmq' ? mutated(message, context) : invoiceOf(message, context),
  );
}

async function untilFound(
  rig: Rig,
  comparison: ObservationComparison,
  groupOf: ReadonlyMap<Mutation, string>,
  { rate, signal }: Pick<MutationRunOptions, 'rate' | 'signal'>,
): Promise<Map<Mutation, MutationOutcome>> {
  /** When each order was acknowledged, by its number, on the monotonic clock. */
  const published: number[] = [];
  const firstShown = new Map([...groupOf.keys()].map((mutation) => [mutation, firstToShow(mutation)]));
  const outcomes = new Map<Mutation, MutationOutcome>();
  const publishing = new AbortController();
  const traffic = rig.publishSteadily(rate, publishing.signal, (count) => {
    published.push(...new Array<number>(count).fill(performance.now()));
  });
  const deadline = performance.now() + LONGEST_MS;
  try {
    for (;;) {
      signal.throwIfAborted();
      const report = await comparison.step({ maxMs: 1_000, signal });
      const now = performance.now();
      for (const [mutation, group] of groupOf) {
        if (outcomes.get(mutation)?.foundAfterMs === undefined) {
          const shown = firstShown.get(mutation);
          outcomes.set(mutation, outcomeOf(mutation, group, report, { published, shown, now }));
        }
      }
      const done = [...outcomes.values()].every(
        ({ mutation, foundAfterMs, compared }) =>
          foundAfterMs !== undefined || (equivalents.includes(mutation) && compared >= ENOUGH),
      );
      if (done || now > deadline) return outcomes;
      await sleep(100);
    }
  } finally {
    publishing.abort();
    await traffic;
  }
}

/** Number of the first order that shows a mutation; undefined where that depends on more than the orders. */
function firstToShow(mutation: Mutation): number | undefined {
  if (mutation.chancy === true) return undefined;
  for (let index = 0; index < ENOUGH; index += 1) if (shows(mutation, index)) return index;
  return undefined;
}

/** Whether the right handler and a new one of the mutation do otherwise with an order. */
function shows({ make }: Mutation, index: number): boolean {
  return !isDeepStrictEqual(outcome(invoiceOf, index), outcome(make(), index));
}

function outcome(handler: Handler, index: number): unknown {
  const { value, key, headers, id } = messageOf(index);
  const message = {
    ...{ topic: '', partition: 0, id, timestamp: 0, position: { leg: 'kafka' as const } },
    ...{ key: Buffer.from(key), value: Buffer.from(value), headers: { region: Buffer.from(headers.region) } },
  };
  const clock = { now: () => 0, date: () => new Date(0) };
  const sources = { clock, random: () => 0.5, randomBytes: () => Buffer.alloc(0), id: () => 'id' };
  try {
    return handler(message, { ...sources, signal: new AbortController().signal });
  } catch (error) {
    return error instanceof Error ? error.name : error;
  }
}

function outcomeOf(
  mutation: Mutation,
  group: string,
  report: ComparisonReport,
  { published, shown, now }: { published: readonly number[]; shown: number | undefined; now: number },
): MutationOutcome {
  const { counts, samples = [] } = report.groups[group] ?? {};
  if (counts === undefined) throw new BatteryError(`Nothing was reported of group ${group}.`);
  const compared = counts.matched + counts.different + counts.failedLive + counts.failedShadow;
  // What is found for another reason, as a message that one side lacks, does not count for the mutation.
  const telling = samples.filter(
    ({ verdict, id }) => OF_HANDLERS.includes(verdict) && (mutation.chancy === true || shows(mutation, indexOf(id))),
  );
  const [sample] = equivalents.includes(mutation) ? samples : telling;
  if (sample === undefined) return { mutation, compared };
  // Samples are the newest ones: the first to show it may not be among them.
  const first = Math.min(shown ?? Infinity, ...telling.map(({ id }) => indexOf(id)));
  // Compared before its acknowledgement was noted: as late as can be.
  const at = published[first] ?? now - PUBLISH_EVERY_MS;
  const { verdict, fields = [] } = sample;
  return { mutation, compared, foundAfterMs: now - at, verdict, fields };
}
