import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { anomalyKinds, type AnomalyKind } from '../../chaos/migration/checker/anomalies.js';
import { check, type CheckResult, type StoredValue } from '../../chaos/migration/checker/check.js';
import type { Disturbance, Move } from '../../chaos/migration/checker/group.js';
import { Settling } from '../../chaos/migration/checker/settling.js';
import { Journal, marks, type Mark } from '../../chaos/migration/services/journal.js';
import { contentOf, keyOf, nameIn, type MessageName } from '../../chaos/migration/services/message.js';

// Each rule of the checker against a run that breaks it, and a run that breaks none.

const rules = { seed: 7, topics: ['orders', 'payments'], keys: 2, foreign: 2 };
const JAVA_ACKNOWLEDGED = 5;
const folders: string[] = [];

afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })));
});

/** A run without defects, which a test then damages. */
class Trace {
  readonly disturbances: Disturbance[] = [];
  readonly moves: Move[] = [];
  readonly stored: MessageName[] = [name(0), name(1)];
  readonly #called: [Mark, MessageName, number][] = [];
  readonly #applied: [Mark, MessageName, number, string][] = [];
  #at = 1_000;

  publish(name: MessageName, outcome: Mark = marks.acknowledged): void {
    this.#called.push([marks.called, name, this.#tick()]);
    this.#called.push([outcome, name, this.#tick()]);
  }

  apply(name: MessageName, mark: Mark = marks.appliedFromKafka, member = 'a'): void {
    this.#applied.push([mark, name, this.#tick(), member]);
  }

  move(to: Move['to'], redeliveries = 0): void {
    this.moves.push({ to, at: this.#tick(), redeliveries });
  }

  disturb(whom: Pick<Disturbance, 'group' | 'producer'>): void {
    this.disturbances.push({ ...whom, from: this.#at - 5, to: this.#at + 5 });
  }

  async evidence() {
    const folder = await mkdtemp(join(tmpdir(), 'migration-checker-'));
    folders.push(folder);
    const write = (file: string, entries: readonly (readonly [Mark, MessageName, number, ...unknown[]])[]): string => {
      const path = join(folder, file);
      const journal = new Journal(path);
      for (const [mark, name, at] of entries) journal.write(mark, [name], at);
      journal.close();
      return path;
    };
    const java = join(folder, 'java.log');
    const told = Array.from(
      { length: JAVA_ACKNOWLEDGED },
      (_, serial) => `{"name":"producer_send_success","key":"${serial % 2}","value":"1.${serial}","topic":"payments"}`,
    );
    await writeFile(java, ['{"name":"startup_complete"}', ...told, ''].join('\n'));
    const of = (member: string) => this.#applied.filter((entry) => entry[3] === member);
    return {
      ...{ rules, begunAt: 0, disturbances: this.disturbances, moves: this.moves, stored: storedValues(this.stored) },
      ...{ producers: [write('producer', this.#called)], java: [java] },
      groups: { billing: [write('a', of('a')), write('b', of('b'))] },
    };
  }

  async check(): Promise<CheckResult> {
    return await check(await this.evidence());
  }

  #tick(): number {
    return (this.#at += 10);
  }
}

async function* storedValues(names: readonly MessageName[]): AsyncGenerator<StoredValue> {
  await Promise.resolve();
  for (const [offset, one] of names.entries()) {
    const { topic, value } = contentOf(rules, one);
    yield { value, topic, partition: 0, offset };
  }
}

function name(serial: number, producer = 0, start = 1): MessageName {
  return { producer, start, serial };
}

/** The next serial with the same key as the first one. */
function sameKey(first: MessageName): MessageName {
  for (let serial = first.serial + 1; ; serial++) {
    const next = { ...first, serial };
    if (keyOf(rules, next) === keyOf(rules, first)) return next;
  }
}

const keyed = ((): MessageName => {
  for (let serial = 100; ; serial++) if (keyOf(rules, name(serial)) !== undefined) return name(serial);
})();

/** Ten messages there, a cutover, ten more, what the Java producer acknowledged, and the way back. */
function soundTrace(): Trace {
  const trace = new Trace();
  const inTurn = (from: number, mark: Mark): void => {
    for (let serial = from; serial < from + 10; serial++) {
      trace.publish(name(serial));
      trace.apply(name(serial), mark, serial % 2 === 0 ? 'a' : 'b');
    }
  };
  inTurn(0, marks.appliedFromKafka);
  trace.move('owlmq');
  inTurn(10, marks.appliedFromOwlmq);
  for (let serial = 0; serial < JAVA_ACKNOWLEDGED; serial++) trace.apply(name(serial, 2), marks.appliedFromOwlmq);
  trace.move('kafka');
  inTurn(20, marks.appliedFromKafka);
  return trace;
}

/** What each kind of anomaly looks like. */
const defects: Record<AnomalyKind, (trace: Trace) => void> = {
  lost: (trace) => {
    trace.publish(name(50));
  },
  'both-sides': (trace) => {
    trace.apply(name(12), marks.appliedFromKafka);
  },
  repeated: (trace) => {
    trace.apply(name(22));
  },
  reordered: (trace) => {
    const later = sameKey(keyed);
    for (const one of [keyed, later]) trace.publish(one);
    for (const one of [later, keyed]) trace.apply(one);
  },
  'failed-but-applied': (trace) => {
    trace.publish(name(50), marks.failed);
    trace.apply(name(50));
  },
  invented: (trace) => {
    trace.apply(name(50));
  },
  altered: (trace) => {
    trace.publish(name(50));
    trace.apply(name(50), marks.alteredFromKafka);
  },
  'stored-twice': (trace) => {
    trace.stored.push(name(1));
  },
  'sides-overlap': (trace) => {
    trace.publish(name(50));
    trace.apply(name(50), marks.appliedFromOwlmq);
  },
};

it('finds nothing in a run that keeps every promise', async () => {
  const trace = soundTrace();
  const { anomalies, published, java, groups } = await trace.check();
  expect(anomalies).toEqual({});
  expect(published).toMatchObject({ acknowledged: 35, called: 0 });
  expect(java.acknowledged).toBe(5);
  expect(groups).toMatchObject({ billing: { messages: 35, sideChanges: 2 } });
});

it.each(Object.keys(anomalyKinds) as AnomalyKind[])('finds what is %s, and nothing else', async (kind) => {
  const trace = soundTrace();
  defects[kind](trace);
  expect((await trace.check()).anomalies).toEqual({ [kind]: 1 });
});

it('counts apart what faults and moves explain', async () => {
  const trace = soundTrace();
  // After a fault of its group, as often as it likes; another group's or producer's fault explains nothing.
  trace.apply(name(20));
  trace.disturb({ group: 'billing' });
  trace.apply(name(20));
  // By the report of a move: one, and no more.
  trace.move('owlmq', 1);
  trace.apply(name(23), marks.appliedFromOwlmq);
  trace.apply(name(24), marks.appliedFromOwlmq);
  // Unknown, and late.
  const later = sameKey(keyed);
  trace.publish(keyed, marks.unknown);
  trace.publish(later);
  for (const one of [later, keyed]) trace.apply(one, marks.appliedFromOwlmq);
  // The Java producer had not told of it.
  trace.apply(name(JAVA_ACKNOWLEDGED, 2), marks.appliedFromOwlmq);
  const { anomalies, groups } = await trace.check();
  expect(anomalies).toEqual({ 'both-sides': 1 });
  expect(groups['billing']).toMatchObject({ redelivered: 2, reportedAgain: 1, lateUnknown: 1 });
});

it('takes a fault of another group or producer for no reason', async () => {
  const trace = soundTrace();
  trace.disturb({ group: 'shipping' });
  trace.disturb({ producer: 1 });
  trace.apply(name(29));
  expect((await trace.check()).anomalies).toEqual({ repeated: 1 });
});

it('tells how many messages are still to be applied', async () => {
  const trace = soundTrace();
  trace.publish(name(50));
  trace.publish(name(51), marks.unknown);
  const settling = await Settling.begin(await trace.evidence());
  expect(settling.missing()).toBe(1);
  settling.close();
});

it('reads the name of a message from what its producer makes of it', () => {
  for (const one of [name(3), name(1_234_567, 1, 12), name(9, rules.foreign, 2)]) {
    expect(nameIn(rules, contentOf(rules, one).value)).toEqual(one);
  }
  expect(nameIn(rules, 'something else')).toBeUndefined();
});
