import { BODY_HEAD_BYTES, encodeRecords, frameBytes, type RecordToFrame } from '../../contract/index.js';
import type { Check } from '../check.js';
import { limitsSchema, publishResultsSchema } from '../answers.js';
import { limits, lookup, publish, publishBody } from '../requests.js';
import type { Trial } from '../trial.js';
import { holds, NotTriedError, same } from '../verdicts.js';

/** More than this is not sent only to see it refused. */
const MOST_BYTES = 64 * 1024 * 1024;
/** A partition that no topic has: what goes there is never written, so that trying a limit leaves nothing behind. */
const NO_PARTITION = 4_000_000_000;

/** What the server accepts in one request: exactly as much as it says. */
export const limitChecks: readonly Check[] = [
  {
    name: 'limits.form',
    section: 'getLimits',
    expected: 'the server says its limits, and the same ones when it is asked again',
    needs: [],
    async run(trial) {
      const told = await trial.json(limits(), limitsSchema);
      same('the limits when asked again', await trial.json(limits(), limitsSchema), told);
      trial.endpoint.limits = told;
      return Object.entries(told)
        .map(([name, value]) => `${name} ${value}`)
        .join(', ');
    },
  },
  {
    name: 'limits.batch-records',
    section: 'Limits',
    expected: 'a batch of maxBatchRecords is taken; one of one more is refused whole with 413 too-large',
    needs: ['limits.form', 'publish.unknown-partition'],
    async run(trial) {
      const { maxBatchRecords, maxBatchBytes } = trial.limits;
      const { topic, partition } = await trial.partition();
      const small = (index: number, at: number): RecordToFrame =>
        trial.record(at, { id: `${index}-${trial.endpoint.prefix}`, value: null });
      const most = BODY_HEAD_BYTES + (maxBatchRecords + 1) * frameBytes(small(maxBatchRecords, 0));
      if (most > Math.min(MOST_BYTES, maxBatchBytes)) {
        throw new NotTriedError(
          `a batch of ${maxBatchRecords} records is larger than ${Math.min(MOST_BYTES, maxBatchBytes)} bytes`,
        );
      }
      const batch = (count: number, at: number): RecordToFrame[] =>
        Array.from({ length: count }, (_, index) => small(index, at));
      await trial.publish(topic, batch(maxBatchRecords, NO_PARTITION));
      await trial.refused(publish(topic, batch(maxBatchRecords + 1, partition)), 413, 'too-large');
      same('end offset after the refused batch', await trial.endOffset(topic, partition), 0);
      return `${maxBatchRecords} records got a result each; one more: HTTP 413 too-large`;
    },
  },
  {
    name: 'limits.batch-bytes',
    section: 'Limits',
    expected: 'a body of maxBatchBytes is taken; one of one byte more is refused with 413 too-large',
    needs: ['limits.form', 'publish.unknown-partition'],
    async run(trial) {
      const { maxBatchBytes } = trial.limits;
      if (maxBatchBytes > MOST_BYTES) throw new NotTriedError(`maxBatchBytes is ${maxBatchBytes}, too much to send`);
      const { topic } = await trial.partition();
      const body = bodyOf(trial, maxBatchBytes);
      await trial.json(publishBody(topic, body), publishResultsSchema);
      const over = publishBody(topic, bodyOf(trial, maxBatchBytes + 1));
      await trial.refused({ ...over, bodyLater: true }, 413, 'too-large');
      return `${maxBatchBytes} bytes were taken; one more: HTTP 413 too-large`;
    },
  },
  {
    name: 'limits.record-bytes',
    section: 'Limits',
    expected: 'a record of maxRecordBytes is written; one of one byte more is a result too-large, and fails alone',
    needs: ['limits.form', 'publish.key-blocked'],
    async run(trial) {
      const { maxRecordBytes, maxBatchBytes } = trial.limits;
      const { topic, partition } = await trial.partition();
      const key = Buffer.from('large');
      const beside = [trial.record(partition), trial.record(partition, { key }), trial.record(partition)];
      const others = beside.reduce((bytes, record) => bytes + frameBytes(record), BODY_HEAD_BYTES);
      if (maxRecordBytes + 1 + others > Math.min(maxBatchBytes, MOST_BYTES)) {
        throw new NotTriedError(
          `a record of more than ${maxRecordBytes} bytes does not fit into a batch that is tried`,
        );
      }
      const [before, blocked, after] = beside as [RecordToFrame, RecordToFrame, RecordToFrame];
      await trial.accepted(topic, [sized(trial.record(partition, { key }), maxRecordBytes)]);
      const results = await trial.publish(topic, [
        before,
        sized(trial.record(partition, { key }), maxRecordBytes + 1),
        blocked,
        after,
      ]);
      const told = results.map((result) => (result.ok ? 'ok' : result.type));
      same('results', told, ['ok', 'too-large', 'key-blocked', 'ok']);
      same('end offset', await trial.endOffset(topic, partition), 3);
      return `${maxRecordBytes} bytes were written; one more: too-large, and its key is blocked behind it`;
    },
  },
  {
    name: 'limits.lookup-ids',
    section: 'Limits',
    expected: 'a look-up of maxLookupIds is answered; one of one more is refused with 413 too-large',
    needs: ['limits.form', 'lookup.places'],
    async run(trial) {
      const { maxLookupIds, maxBatchBytes } = trial.limits;
      const { topic } = await trial.partition();
      const ids = Array.from({ length: maxLookupIds + 1 }, (_, index) => `${index}`);
      const most = Math.min(MOST_BYTES, maxBatchBytes);
      if (JSON.stringify({ ids }).length > most) {
        throw new NotTriedError(`a look-up of ${maxLookupIds} ids is larger than ${most} bytes`);
      }
      const places = await trial.lookup(topic, ids.slice(1));
      holds(
        places.every((place) => place === null),
        'lookup: ids that were never published have places',
      );
      await trial.refused(lookup(topic, ids), 413, 'too-large');
      return `${maxLookupIds} ids got a place each; one more: HTTP 413 too-large`;
    },
  },
];

/** A record whose frame has so many bytes. */
function sized(record: RecordToFrame, bytes: number): RecordToFrame {
  const rest = bytes - frameBytes({ ...record, value: null });
  return { ...record, value: Buffer.alloc(rest, 'x') };
}

/** A sound body of exactly so many bytes, in records that are small enough, of which nothing is written. */
function bodyOf(trial: Trial, bytes: number): Buffer {
  const { maxRecordBytes, maxBatchRecords } = trial.limits;
  const all = bytes - BODY_HEAD_BYTES;
  const count = Math.ceil(all / maxRecordBytes);
  const each = Math.floor(all / count);
  const empty = frameBytes(trial.record(NO_PARTITION, { value: null }));
  if (count > maxBatchRecords || each <= empty + 16) {
    throw new NotTriedError(`a body of ${bytes} bytes would need more records than a batch may have`);
  }
  const records = Array.from({ length: count }, (_, index) =>
    sized(trial.record(NO_PARTITION), index === count - 1 ? all - each * (count - 1) : each),
  );
  return encodeRecords(records);
}
