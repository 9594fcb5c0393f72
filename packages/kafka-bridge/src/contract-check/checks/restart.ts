import { pause } from '../../async/bounded.js';
import type { Contract, RecordToFrame } from '../../contract/index.js';
import type { Check } from '../check.js';
import { createTopic, describeTopic, limits, setGroupOffsets } from '../requests.js';
import { topicSchema, type ReadRecord } from '../answers.js';
import { Trial } from '../trial.js';
import { ContractBrokenError, holds, NoAnswerError, NotTriedError, same } from '../verdicts.js';
import { at } from './groups.js';
import { asSent, WRITES } from './publish.js';

/** What was there before the restart. */
interface Before {
  topic: string;
  partition: number;
  /** Where writes go while the endpoint stops. */
  busy: number;
  records: RecordToFrame[];
  group: string;
  offsets: Record<string, number>;
  memberGroup: string;
  member: Contract['Membership'];
  emptied: string;
  emptiedGeneration: number;
  /** Acknowledged while the endpoint stopped, with the offset that was told. */
  acknowledged: { record: RecordToFrame; offset: number }[];
}

const AFTER = ['restart.answers'];
const BACK_WITHIN_MS = 60_000;
const LEAST_WHILE_STOPPING = 10;
const MOST_WHILE_STOPPING = 2_000;
/** Long enough that no lease of a member ends because the restart takes a while. */
const SESSION_MS = 600_000;
const BEFORE = 'before the restart';

/** What outlives a restart of the endpoint. */
export const restartChecks: readonly Check[] = [
  {
    name: 'restart.answers',
    section: 'Conventions',
    expected: 'the endpoint answers again after its restart',
    needs: [...WRITES, 'members.commit', 'members.leave'],
    waitsForRestart: true,
    async run(trial) {
      const { restart, shared } = trial.endpoint;
      if (restart === undefined) {
        throw new NotTriedError('it was not said how to restart the endpoint: see --restart-command and --restart');
      }
      const before = await prepare(trial);
      const stopped = new AbortController();
      const writer = new Trial(trial.endpoint, AbortSignal.any([trial.signal, stopped.signal]));
      const writing = writeUntilItStops(writer, before);
      try {
        await trial.until('acknowledgements of what is written meanwhile', () => enough(before));
        await restart(trial.signal);
      } finally {
        stopped.abort();
        await writing;
      }
      const started = performance.now();
      await trial.until('an answer', () => answers(trial), BACK_WITHIN_MS);
      shared.set(BEFORE, Promise.resolve(before));
      return `it answered ${Math.round(performance.now() - started)} ms after the restart was told to be done`;
    },
  },
  {
    name: 'restart.records',
    section: 'Conventions',
    expected: 'topics and records are as before; new ones get the next offsets',
    needs: AFTER,
    async run(trial) {
      const { topic, partition, records } = await beforeRestart(trial);
      const described = await trial.json(describeTopic(topic), topicSchema);
      same('end offset', described.partitions[partition], { partition, beginOffset: 0, endOffset: records.length });
      const read = await trial.readAll(topic, partition);
      same('number of records', read.length, records.length);
      records.forEach((record, index) => {
        same(`record ${index}`, asSent(read[index] as ReadRecord), asSent(record));
      });
      await trial.ok(createTopic(topic, { partitions: described.partitions.length }), 200);
      const [next] = await trial.accepted(topic, [trial.record(partition)]);
      same('offset of the next record', next?.offset, records.length);
      return `${records.length} records as they were written, and the next one behind them`;
    },
  },
  {
    name: 'restart.acknowledged',
    section: 'Conventions',
    expected: 'what was acknowledged while the endpoint stopped is there, at the places that were told',
    needs: AFTER,
    async run(trial) {
      const { topic, busy, acknowledged } = await beforeRestart(trial);
      const read = await trial.readAll(topic, busy);
      for (const { record, offset } of acknowledged) {
        same(`the record acknowledged at offset ${offset}`, read[offset]?.id, record.id);
      }
      return `${acknowledged.length} records were acknowledged until it stopped; all are there`;
    },
  },
  {
    name: 'restart.ids',
    section: 'Publishing',
    expected: 'ids are still known: publishing again writes nothing and is answered with the first places',
    needs: ['restart.records'],
    async run(trial) {
      const { topic, partition, records } = await beforeRestart(trial);
      const end = await trial.endOffset(topic, partition);
      const again = await trial.accepted(topic, records);
      const expected = records.map((_, offset) => ({ partition, offset, duplicate: true }));
      same('results', again, expected);
      same('end offset', await trial.endOffset(topic, partition), end);
      const places = await trial.lookup(
        topic,
        records.map(({ id }) => id),
      );
      same(
        'places',
        places,
        expected.map(({ offset }) => ({ partition, offset })),
      );
      return `${records.length} ids: the first place each, duplicate: true`;
    },
  },
  {
    name: 'restart.group-offsets',
    section: 'Groups',
    expected: 'committed offsets outlive a restart',
    needs: AFTER,
    async run(trial) {
      const { group, memberGroup, offsets } = await beforeRestart(trial);
      same('offsets that were set', await trial.committed(group), offsets);
      same('offsets that a member committed', await trial.committed(memberGroup), offsets);
      return 'those that were set and those that a member committed are there';
    },
  },
  {
    name: 'restart.members',
    section: 'Groups',
    expected: 'members and generations outlive a restart; leases start anew with it',
    needs: AFTER,
    async run(trial) {
      const { memberGroup, member, emptied, emptiedGeneration, topic } = await beforeRestart(trial);
      const { memberId, generation } = member;
      const told = await trial.heartbeat(memberGroup, memberId, generation);
      same('state and generation', [told.state, told.generation], ['stable', generation]);
      const partitions = ({ assignment }: Contract['Membership']): string[] =>
        assignment.map(({ topic: of, partition }) => `${of}/${partition}`).sort();
      same('partitions', partitions(told), partitions(member));
      const next = await trial.joinStable(emptied, topic);
      holds(
        next.generation > emptiedGeneration,
        `an emptied group was in generation ${emptiedGeneration} before, and is in ${next.generation} after`,
      );
      return `the member goes on in generation ${generation}; an emptied group went from ${emptiedGeneration} to ${next.generation}`;
    },
  },
];

async function prepare(trial: Trial): Promise<Before> {
  const topic = await trial.topic('restart', 2);
  const [partition, busy] = [0, 1];
  const records = [
    ...Array.from({ length: 20 }, () => trial.record(partition, { key: Buffer.from('key'), headers: [['a', 'b']] })),
    trial.record(partition, { key: null, value: null }),
  ];
  await trial.accepted(topic, records);
  const group = trial.name('restart-set');
  const offsets = { [`${topic}/0`]: 7, [`${topic}/1`]: 0 };
  const toCommit = [at(topic, 0, 7), at(topic, 1, 0)];
  await trial.ok(setGroupOffsets(group, toCommit), 204);
  const memberGroup = trial.name('restart-member');
  await trial.ok(setGroupOffsets(memberGroup, toCommit), 204);
  const member = await trial.joinStable(memberGroup, topic, { sessionTimeoutMs: SESSION_MS });
  const emptied = trial.name('restart-emptied');
  const left = await trial.joinStable(emptied, topic);
  await trial.leave(emptied, left.memberId);
  const counts = { emptied, emptiedGeneration: left.generation };
  return { topic, partition, busy, records, group, offsets, memberGroup, member, ...counts, acknowledged: [] };
}

/** Publishes one record after the other until the endpoint does not answer any more, and notes what was acknowledged. */
async function writeUntilItStops(writer: Trial, { topic, busy, acknowledged }: Before): Promise<void> {
  const { signal } = writer;
  while (!signal.aborted && acknowledged.length < MOST_WHILE_STOPPING) {
    const record = writer.record(busy);
    try {
      const [place] = await writer.accepted(topic, [record]);
      if (place !== undefined) acknowledged.push({ record, offset: place.offset });
    } catch (error) {
      // It stops: with a broken connection, or with 503 that says so. What was under way may or may not be there.
      if (error instanceof NoAnswerError || error instanceof ContractBrokenError || error === signal.reason) return;
      throw error;
    }
    // A person may take minutes.
    await pause(acknowledged.length < MOST_WHILE_STOPPING / 4 ? 5 : 200, signal);
  }
}

/** True once there is something that a restart could lose. */
function enough({ acknowledged }: Before): Promise<true | undefined> {
  return Promise.resolve(acknowledged.length >= LEAST_WHILE_STOPPING ? true : undefined);
}

async function answers(trial: Trial): Promise<true | undefined> {
  try {
    const { status } = await trial.send(limits());
    return status === 200 ? true : undefined;
  } catch (error) {
    if (error instanceof NoAnswerError) return undefined;
    throw error;
  }
}

async function beforeRestart(trial: Trial): Promise<Before> {
  const before = trial.endpoint.shared.get(BEFORE);
  if (before === undefined) throw new Error('A check of the restart must need restart.answers.');
  return (await before) as Before;
}
