import { pause } from '../../async/bounded.js';
import {
  decodeHeads,
  headOf,
  HEADS_MEDIA_TYPE,
  RECORDS_MEDIA_TYPE,
  type RecordHead,
  type RecordToFrame,
} from '../../contract/index.js';
import type { Check } from '../check.js';
import { decoded, mediaTypeOf, offsetsSchema, recordsOf, topicListSchema } from '../answers.js';
import { ACCEPT_HEADS, listTopics, offsetsForTime, readRecords } from '../requests.js';
import { aside, type Trial } from '../trial.js';
import { ContractBrokenError, holds, NotTriedError, same } from '../verdicts.js';
import { WRITES } from './publish.js';

/** How long a poll of an empty partition waits, where the limits allow it. */
const SHORT_POLL_MS = 300;
/** A poll that a publish is to end. It must end long before its time is over. */
const LONG_POLL_MS = 10_000;
/** Enough for the request to be there before the record is. */
const HEAD_START_MS = 150;
/** What the way to the endpoint, and a busy machine, may add. */
const SLACK_MS = 3_000;

/** Raw reads of a partition, and offsets for a time. */
export const readChecks: readonly Check[] = [
  {
    name: 'read.from-offset',
    section: 'readRecords',
    expected: 'a read has records from its offset on, in order and without gaps, at most maxRecords and at least one',
    needs: WRITES,
    async run(trial) {
      const { topic, partition, ids } = await filled(trial, 20);
      for (const [maxRecords, first] of [
        [5, 7],
        [undefined, 7],
        [1, 19],
        [100, 0],
      ] as const) {
        const query = maxRecords === undefined ? {} : { maxRecords };
        const { records, endOffset } = await trial.read(topic, partition, first, query);
        const asked = `offset ${first}, maxRecords ${maxRecords ?? '(default)'}`;
        // A server need not have all that there is in one answer.
        holds(records.length > 0, `${asked}: no records`);
        holds(records.length <= (maxRecords ?? Infinity), `${asked}: ${records.length} records`);
        same(
          `offsets for ${asked}`,
          records.map(({ offset }) => offset),
          records.map((_, index) => first + index),
        );
        same(
          `ids for ${asked}`,
          records.map(({ id }) => id),
          ids.slice(first, first + records.length),
        );
        same(`OwlMQ-End-Offset for ${asked}`, endOffset, 20);
      }
      return 'four reads, each with the records from its offset on, no more than asked for, and the end offset';
    },
  },
  {
    name: 'read.max-bytes',
    section: 'readRecords',
    expected: 'a read has about maxBytes, but at least one record when there is one',
    needs: [...WRITES, 'limits.form'],
    async run(trial) {
      const size = Math.min(4_096, Math.floor(trial.limits.maxRecordBytes / 2));
      const { topic, partition } = await filled(trial, 64, { value: Buffer.alloc(size, 'x') });
      for (const offset of [0, 40, 63]) {
        const { records } = await trial.read(topic, partition, offset, { maxBytes: 1 });
        holds(records.length > 0, `maxBytes 1 at offset ${offset}: no record`);
        same('its first offset', records[0]?.offset, offset);
      }
      const { records } = await trial.read(topic, partition, 0, { maxBytes: 4 * size });
      holds(records.length < 64, `64 records of ${size} bytes were read with maxBytes ${4 * size}`);
      return `maxBytes 1: at least one record each time; maxBytes ${4 * size}: ${records.length} of 64 records of ${size} bytes`;
    },
  },
  {
    name: 'read.at-end',
    section: 'readRecords',
    expected: 'a read at the end offset is answered with no records at once',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await filled(trial, 3);
      const { records, endOffset } = await trial.read(topic, partition, 3);
      same('records', records.length, 0);
      same('OwlMQ-End-Offset', endOffset, 3);
      return 'HTTP 200 without records';
    },
  },
  {
    name: 'read.past-end',
    section: 'OffsetOutOfRange',
    expected: 'a read past the end offset is refused with 422 offset-out-of-range, which says where begin and end are',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await filled(trial, 3);
      for (const offset of [4, 1_000_000]) {
        const problem = await trial.refused(
          readRecords(topic, partition, { offset }),
          ...([422, 'offset-out-of-range', `offset ${offset} of 3`] as const),
        );
        const { beginOffset, endOffset } = problem;
        const where = { topic: problem.topic, partition: problem.partition, beginOffset, endOffset };
        same('what the problem says', where, { topic, partition, beginOffset: 0, endOffset: 3 });
      }
      return 'one past the end, and far past it: HTTP 422 with begin 0 and end 3';
    },
  },
  {
    name: 'read.before-begin',
    section: 'OffsetOutOfRange',
    expected: 'a read before the begin offset is refused with 422 offset-out-of-range',
    needs: ['topics.list'],
    async run(trial) {
      const { topics } = await trial.json(listTopics(), topicListSchema);
      const [old] = topics.flatMap(({ name, partitions }) =>
        partitions.filter(({ beginOffset }) => beginOffset > 0).map((one) => ({ topic: name, ...one })),
      );
      if (old === undefined) throw new NotTriedError('no topic of the endpoint has lost records yet: all begin at 0');
      const { topic, partition, beginOffset } = old;
      const read = readRecords(topic, partition, { offset: beginOffset - 1, maxRecords: 1 });
      const problem = await trial.refused(read, 422, 'offset-out-of-range', `an offset before ${beginOffset}`);
      holds(
        (problem.beginOffset ?? -1) >= beginOffset,
        `the problem says beginOffset ${problem.beginOffset ?? '(none)'}`,
      );
      return `offset ${beginOffset - 1} of ${topic}/${partition}, which begins at ${beginOffset}: HTTP 422`;
    },
  },
  {
    name: 'read.unknown-partition',
    section: 'NotFound',
    expected: 'a read of a partition that is not there is refused with 404 unknown-partition, of a topic unknown-topic',
    needs: ['topics.create'],
    async run(trial) {
      const { topic } = await trial.partition();
      await trial.refused(readRecords(topic, 4_000_000, { offset: 0 }), 404, 'unknown-partition');
      await trial.refused(readRecords(trial.name('unknown'), 0, { offset: 0 }), 404, 'unknown-topic');
      return 'HTTP 404 unknown-partition, HTTP 404 unknown-topic';
    },
  },
  {
    name: 'read.long-poll-wakes',
    section: 'readRecords',
    expected: 'a read that waits at the end is answered as soon as a record is there',
    needs: [...WRITES, 'limits.form'],
    async run(trial) {
      const waitMs = Math.min(LONG_POLL_MS, trial.limits.maxWaitMs);
      if (waitMs < 2 * SLACK_MS) throw new NotTriedError(`maxWaitMs is ${trial.limits.maxWaitMs}: too short to tell`);
      const { topic, partition } = await trial.partition();
      const reading = aside(trial.read(topic, partition, 0, { waitMs }));
      await pause(HEAD_START_MS, trial.signal);
      const record = trial.record(partition);
      await trial.accepted(topic, [record]);
      const { records, ms } = await reading;
      same(
        'ids that the poll had',
        records.map(({ id }) => id),
        [record.id],
      );
      holds(ms < HEAD_START_MS + SLACK_MS + waitMs / 4, `the poll took ${Math.round(ms)} ms of ${waitMs}`);
      return `the record came ${Math.round(ms)} ms after the poll began, of the ${waitMs} ms that it could wait`;
    },
  },
  {
    name: 'read.long-poll-ends',
    section: 'readRecords',
    expected: 'a read that waits at the end is answered without records when waitMs is over, not before and not later',
    needs: [...WRITES, 'limits.form'],
    async run(trial) {
      const waitMs = Math.min(SHORT_POLL_MS, trial.limits.maxWaitMs);
      if (waitMs < SHORT_POLL_MS) throw new NotTriedError(`maxWaitMs is ${trial.limits.maxWaitMs}: too short to tell`);
      const { topic, partition } = await trial.partition();
      const { records, ms } = await trial.read(topic, partition, 0, { waitMs });
      same('records', records.length, 0);
      // A clock that ticks in milliseconds may be one of them early.
      holds(ms >= waitMs - 5, `the poll ended after ${Math.round(ms)} ms of ${waitMs}`);
      holds(ms < waitMs + SLACK_MS, `the poll ended after ${Math.round(ms)} ms, not ${waitMs}`);
      return `answered after ${Math.round(ms)} ms with waitMs ${waitMs}`;
    },
  },
  {
    name: 'read.heads',
    section: 'Heads of records',
    expected: 'where Accept prefers heads: heads that say what the records say, or the records; else the records',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const change: Partial<RecordToFrame>[] = [
        ...[
          {},
          {
            headers: [
              ['trace', 'a'],
              ['trace', 'b'],
            ] as [string, string][],
          },
          { value: null },
        ],
        ...[{ key: Buffer.alloc(0), value: Buffer.alloc(0) }, { headers: [['trace', '']] as [string, string][] }],
        {
          key: Buffer.from('key'),
          headers: [
            ['other', 'x'],
            ['trace', 'Größe'],
          ] as [string, string][],
        },
      ];
      await trial.accepted(
        topic,
        change.map((one) => trial.record(partition, one)),
      );
      const expected = (await trial.readAll(topic, partition)).map((record) => headOf(record, 'trace'));
      const all = await heads(trial, topic, partition, {});
      if (all === undefined) return 'heads are left out: answered with whole records, which the contract allows';
      same('heads', all, expected.slice(0, Math.max(1, all.length)));
      const two = await heads(trial, topic, partition, { maxRecords: 2 });
      same('heads with maxRecords 2', two, expected.slice(0, two?.length === 1 ? 1 : 2));
      const records = `${RECORDS_MEDIA_TYPE}, ${HEADS_MEDIA_TYPE};q=0.1`;
      const other = await trial.ok(readRecords(topic, partition, { offset: 0 }, records));
      same('media type where Accept prefers records', mediaTypeOf(other.headers), RECORDS_MEDIA_TYPE);
      return `${all.length} heads equal the records; records where Accept prefers them`;
    },
  },
  {
    name: 'time.offsets',
    section: 'offsetsForTime',
    expected:
      'for each partition the first offset at or after a time, also where times do not rise; else the end offset',
    needs: WRITES,
    async run(trial) {
      const topic = await trial.topic('times', 3);
      const times = [1_000, 5_000, 2_000, 5_000, 9_000];
      const records = times.map((timestamp) => trial.record(0, { timestamp }));
      await trial.accepted(topic, [...records, trial.record(2, { timestamp: 3_000 })]);
      for (const [time, offset, other] of [
        ...[
          [0, 0, 0],
          [1_000, 0, 0],
          [1_001, 1, 0],
          [2_000, 1, 0],
        ],
        ...[
          [5_000, 1, 1],
          [5_001, 4, 1],
          [9_001, 5, 1],
        ],
      ] as [number, number, number][]) {
        const { offsets } = await trial.json(offsetsForTime(topic, time), offsetsSchema);
        same(`offsets for time ${time}`, offsets, [offset, 0, other]);
      }
      await trial.refused(offsetsForTime(trial.name('unknown'), 0), 404, 'unknown-topic');
      return 'seven times over three partitions, one of them empty: each offset right';
    },
  },
];

async function filled(
  trial: Trial,
  count: number,
  change: Partial<RecordToFrame> = {},
): Promise<{ topic: string; partition: number; ids: string[] }> {
  const { topic, partition } = await trial.partition();
  const records = Array.from({ length: count }, () => trial.record(partition, change));
  await trial.accepted(topic, records);
  return { topic, partition, ids: records.map(({ id }) => id) };
}

/** Heads with the header `trace`; undefined where the server answers with records. */
async function heads(
  trial: Trial,
  topic: string,
  partition: number,
  query: { maxRecords?: number },
): Promise<RecordHead[] | undefined> {
  const request = readRecords(topic, partition, { offset: 0, header: 'trace', ...query }, ACCEPT_HEADS);
  const answer = await trial.ok(request);
  const type = mediaTypeOf(answer.headers);
  if (type === HEADS_MEDIA_TYPE) return decoded(answer.operation, () => decodeHeads(answer.body));
  if (type !== RECORDS_MEDIA_TYPE) throw new ContractBrokenError(`readRecords: the media type is ${type}`);
  recordsOf(answer);
  return undefined;
}
