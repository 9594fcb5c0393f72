import type { RecordToFrame } from '../../contract/index.js';
import type { Check } from '../check.js';
import { holds, same } from '../verdicts.js';
import { WRITES } from './publish.js';

const CONCURRENT_BATCHES = 8;
const CONCURRENT_IDS = 10;
const ROUNDS = 3;

/** Ids as idempotency keys. */
export const idChecks: readonly Check[] = [
  {
    name: 'ids.same-batch',
    section: 'Publishing',
    expected: 'a second entry with the id of an accepted one in the same batch gets its place, and writes nothing',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const first = trial.record(partition);
      const again = { ...first, value: Buffer.from('again') };
      const places = await trial.accepted(topic, [first, trial.record(partition), again]);
      same(
        'offsets',
        places.map(({ offset }) => offset),
        [0, 1, 0],
      );
      same(
        'duplicate',
        places.map(({ duplicate }) => duplicate),
        [false, false, true],
      );
      same('end offset', await trial.endOffset(topic, partition), 2);
      return 'the second one got the place of the first, duplicate: true';
    },
  },
  {
    name: 'ids.later-batch',
    section: 'Publishing',
    expected: 'an entry of a later batch with a known id gets the first place, whatever its partition and content',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const other = (await trial.partition()).partition;
      const first = trial.record(partition, { key: Buffer.from('k') });
      await trial.accepted(topic, [first]);
      const again: RecordToFrame[] = [first, { ...first, partition: other, key: null, value: Buffer.from('other') }];
      for (const record of again) {
        const [place] = await trial.accepted(topic, [record]);
        same('result of the repetition', place, { partition, offset: 0, duplicate: true });
      }
      const read = await trial.readAll(topic, partition);
      same(
        'values in the log',
        read.map(({ value }) => value?.toString()),
        [first.id],
      );
      same('end offset of the other partition', await trial.endOffset(topic, other), 0);
      return 'the first place each time, duplicate: true, and the first content stays';
    },
  },
  {
    name: 'ids.concurrent',
    section: 'Publishing',
    expected: 'of entries with one id in batches at the same time one is written, and all get its place',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      for (let round = 0; round < ROUNDS; round++) {
        const records = Array.from({ length: CONCURRENT_IDS }, () => trial.record(partition));
        const answers = await Promise.all(
          Array.from({ length: CONCURRENT_BATCHES }, () => trial.accepted(topic, records)),
        );
        records.forEach(({ id }, index) => {
          const places = answers.map((places) => places[index]);
          const offsets = new Set(places.map((place) => place?.offset));
          holds(offsets.size === 1, `id ${id} was given the offsets ${[...offsets].join(', ')}`);
          same(`batches that say they wrote ${id}`, places.filter((place) => place?.duplicate === false).length, 1);
        });
        const end = (round + 1) * CONCURRENT_IDS;
        same('end offset', await trial.endOffset(topic, partition), end);
        const read = await trial.readAll(topic, partition, end - CONCURRENT_IDS);
        same('ids in the log', read.map(({ id }) => id).sort(), records.map(({ id }) => id).sort());
      }
      return `${ROUNDS} times ${CONCURRENT_BATCHES} batches at once with the same ${CONCURRENT_IDS} ids: each written once`;
    },
  },
  {
    name: 'ids.per-topic',
    section: 'Publishing',
    expected: 'an id has the scope of its topic: in another topic it is another record',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const other = await trial.topic('other-ids', 1);
      const record = trial.record(partition);
      await trial.accepted(topic, [record]);
      const [place] = await trial.accepted(other, [{ ...record, partition: 0 }]);
      same('its result in the other topic', place, { partition: 0, offset: 0, duplicate: false });
      return 'written in both topics';
    },
  },
  {
    name: 'ids.after-failure',
    section: 'Publishing',
    expected: 'the id of an entry that was not written is free: the same record can be written later',
    needs: ['publish.unknown-partition'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const failed = trial.record(4_000_000_000);
      same(
        'result',
        (await trial.publish(topic, [failed])).map(({ ok }) => ok),
        [false],
      );
      const [place] = await trial.accepted(topic, [{ ...failed, partition }]);
      same('result of the second attempt', place, { partition, offset: 0, duplicate: false });
      return 'written at the second attempt';
    },
  },
];
