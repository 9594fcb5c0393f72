import { encodeRecords, type RecordToFrame } from '../../contract/index.js';
import type { Check } from '../check.js';
import { malformedBodies } from '../malformed-bodies.js';
import { topicSchema, type ReadRecord } from '../answers.js';
import { describeTopic, publish, publishBody } from '../requests.js';
import type { Trial } from '../trial.js';
import { holds, same } from '../verdicts.js';

/** What a check needs that publishes and reads back more than one record. */
export const WRITES: readonly string[] = ['publish.written', 'publish.results', 'publish.offsets'];

const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** Batches of records, and that they come back as they went. */
export const publishChecks: readonly Check[] = [
  {
    name: 'publish.written',
    section: 'publish',
    expected: 'an entry that is answered with ok is in the log, at that partition and offset, as it was sent',
    needs: ['topics.create'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const record = trial.record(partition, { key: Buffer.from('key'), headers: [['trace', 'a']] });
      const [place] = await trial.accepted(topic, [record]);
      same('its result', place, { partition, offset: 0, duplicate: false });
      const { records, endOffset } = await trial.read(topic, partition, 0);
      same('what is read back', records.map(asSent), [asSent(record)]);
      same(
        'where it is',
        records.map(({ partition: at, offset }) => [at, offset]),
        [[partition, 0]],
      );
      same('end offset told by the read', endOffset, 1);
      same('end offset in the description', await trial.endOffset(topic, partition), 1);
      return 'offset 0; read back as it was sent';
    },
  },
  {
    name: 'publish.results',
    section: 'Publishing',
    expected: 'a batch has one result an entry, in the order of the entries',
    needs: ['publish.written'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const other = (await trial.partition()).partition;
      const partitions = [partition, other, other, partition, other, partition];
      const sent = partitions.map((at) => trial.record(at));
      const places = await trial.accepted(topic, sent);
      same(
        'partitions of the results',
        places.map((place) => place.partition),
        partitions,
      );
      const ids = new Map<string, string>();
      for (const at of [partition, other]) {
        for (const { offset, id } of await trial.readAll(topic, at)) ids.set(`${at}/${offset}`, id);
      }
      const found = places.map((place) => ids.get(`${place.partition}/${place.offset}`));
      same(
        'ids at the places of the results',
        found,
        sent.map(({ id }) => id),
      );
      return 'six entries in two partitions, each at the place that its result says';
    },
  },
  {
    name: 'publish.offsets',
    section: 'Conventions',
    expected: 'offsets of a partition begin at 0 and rise by one a record without gaps, in the order of a batch',
    needs: ['publish.results'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const batch = (): RecordToFrame[] => Array.from({ length: 4 }, () => trial.record(partition));
      const told: number[] = [];
      const publishOne = async (): Promise<void> => {
        const offsets = (await trial.accepted(topic, batch())).map(({ offset }) => offset);
        const rising = offsets.every((offset, index) => index === 0 || offset > (offsets[index - 1] ?? offset));
        holds(rising, `offsets of one batch do not rise: ${offsets.join(', ')}`);
        told.push(...offsets);
      };
      for (let times = 0; times < 3; times++) await publishOne();
      same(
        'offsets of three batches',
        [...told],
        Array.from({ length: 12 }, (_, index) => index),
      );
      await Promise.all([publishOne(), publishOne(), publishOne(), publishOne()]);
      const all = Array.from({ length: 28 }, (_, index) => index);
      same(
        'offsets of seven batches, four of them at once',
        told.sort((a, b) => a - b),
        all,
      );
      same(
        'offsets that are read',
        (await trial.readAll(topic, partition)).map(({ offset }) => offset),
        all,
      );
      const { partitions } = await trial.json(describeTopic(topic), topicSchema);
      same('the description', partitions[partition], { partition, beginOffset: 0, endOffset: 28 });
      return 'seven batches, four of them at once: offsets 0 to 27';
    },
  },
  {
    name: 'publish.bytes',
    section: 'Records',
    expected: 'keys, values and headers are bytes of any kind, ids and names of headers any text, and come back alike',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      await comeBack(trial, topic, [
        trial.record(partition, { key: ALL_BYTES, value: ALL_BYTES, headers: [['all', ALL_BYTES]] }),
        trial.record(partition, { value: Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x80]) }),
        trial.record(partition, { id: trial.name('Größe-日本-🦉'), headers: [['Schlüssel-鍵', 'Wert-値']] }),
      ]);
      return 'all 256 bytes in key, value and header, and text beyond ASCII, came back alike';
    },
  },
  {
    name: 'publish.null-and-empty',
    section: 'Records',
    expected: 'no key is not an empty key, no value (a tombstone) is not an empty value; headers may be empty',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const empty = Buffer.alloc(0);
      await comeBack(trial, topic, [
        trial.record(partition, { key: null, value: null }),
        trial.record(partition, { key: empty, value: empty, headers: [['empty', empty]] }),
        trial.record(partition, { key: null, value: empty }),
        trial.record(partition, { key: empty, value: null, headers: [['', empty]] }),
      ]);
      return 'null and empty came back as what they were';
    },
  },
  {
    name: 'publish.repeated-headers',
    section: 'Records',
    expected: 'names of headers may repeat, and their order is kept',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const headers: [string, string][] = [
        ...([
          ['b', '1'],
          ['a', '2'],
          ['b', '3'],
        ] as [string, string][]),
        ...([
          ['B', '4'],
          ['b', '1'],
        ] as [string, string][]),
      ];
      await comeBack(trial, topic, [trial.record(partition, { headers })]);
      return 'five headers, three of one name, came back in their order';
    },
  },
  {
    name: 'publish.times',
    section: 'Records',
    expected: 'a record keeps its message time, which may be 0 and need not rise',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const times = [1_700_000_000_123, 5, 0, 4_102_444_800_000, 1];
      await comeBack(
        trial,
        topic,
        times.map((timestamp) => trial.record(partition, { timestamp })),
      );
      return `times ${times.join(', ')} came back`;
    },
  },
  {
    name: 'publish.unknown-topic',
    section: 'publish',
    expected: 'a batch for a topic that does not exist is refused with 404 unknown-topic',
    needs: [],
    async run(trial) {
      await trial.refused(publish(trial.name('unknown'), [trial.record(0)]), 404, 'unknown-topic');
      return 'HTTP 404 unknown-topic';
    },
  },
  {
    name: 'publish.unknown-partition',
    section: 'Publishing',
    expected: 'an entry for a partition that the topic lacks is a result unknown-partition; the others are written',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const sent = [trial.record(partition), trial.record(4_000_000_000), trial.record(partition)];
      const results = await trial.publish(topic, sent);
      same('results', results.map(outcomeOf), [0, 'unknown-partition', 1]);
      const ids = (await trial.readAll(topic, partition)).map(({ id }) => id);
      same('what is in the log', ids, [sent[0]?.id, sent[2]?.id]);
      return 'the entry between two others was refused alone';
    },
  },
  {
    name: 'publish.key-blocked',
    section: 'Publishing',
    expected: 'when an entry fails, later ones of its key in that batch fail with key-blocked, and no others',
    needs: ['publish.unknown-partition'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const other = (await trial.partition()).partition;
      const nowhere = 4_000_000_000;
      const [a, b, none, empty] = [Buffer.from('a'), Buffer.from('b'), null, Buffer.alloc(0)];
      const sent = [
        ...[
          trial.record(partition, { key: a }),
          trial.record(nowhere, { key: a }),
          trial.record(partition, { key: a }),
        ],
        ...[trial.record(partition, { key: b }), trial.record(other, { key: a })],
        ...[trial.record(nowhere, { key: none }), trial.record(partition, { key: none })],
        ...[trial.record(nowhere, { key: empty }), trial.record(partition, { key: empty })],
      ];
      const results = await trial.publish(topic, sent);
      const expected = [
        ...[0, 'unknown-partition', 'key-blocked', 1, 'key-blocked'],
        ...['unknown-partition', 2, 'unknown-partition', 'key-blocked'],
      ];
      same('results', results.map(outcomeOf), expected);
      holds(
        results.every((result) => result.ok || result.type !== 'key-blocked' || result.retriable),
        'a result key-blocked says that the record could not be accepted later',
      );
      // Another batch is not blocked.
      await trial.accepted(topic, [sent[2] as RecordToFrame]);
      const written = [...[0, 3, 6].map((index) => sent[index]?.id), sent[2]?.id];
      same(
        'what is in the log',
        (await trial.readAll(topic, partition)).map(({ id }) => id),
        written,
      );
      same('end offset of the other partition', await trial.endOffset(topic, other), 0);
      return 'blocked in every partition, by an empty key too, not without a key, and in that batch alone';
    },
  },
  {
    name: 'publish.malformed',
    section: 'Records',
    expected: 'a body that breaks the layout is refused whole with 400 malformed-records; nothing of it is written',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const broken = malformedBodies(() => trial.record(partition, { key: Buffer.from('key') }));
      for (const [what, body] of broken) {
        await trial.refused(publishBody(topic, body), 400, 'malformed-records', what);
      }
      const written = await trial.readAll(topic, partition);
      same(
        'records of the refused bodies in the log',
        written.map(({ id }) => id),
        [],
      );
      return `${broken.length} bodies, most with a sound record first: all refused, nothing written`;
    },
  },
  {
    name: 'publish.media-type',
    section: 'publish',
    expected: 'a batch of another media type is refused with 415 unsupported-media-type',
    needs: ['topics.create'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const body = encodeRecords([trial.record(partition)]);
      const types = ['application/json', 'application/octet-stream', 'text/csv'];
      for (const type of types) {
        const sent = type === 'application/json' ? '{}' : body;
        await trial.refused(publishBody(topic, sent, type), 415, 'unsupported-media-type', type);
      }
      same('end offset', await trial.endOffset(topic, partition), 0);
      return `${types.join(', ')}: HTTP 415`;
    },
  },
];

/** What of a record must come back as it was sent, in terms that can be compared and shown. */
export function asSent({ id, key, value, headers, timestamp }: RecordToFrame | ReadRecord): unknown {
  const hex = (bytes: Buffer | string | null): string | null =>
    bytes === null ? null : Buffer.from(bytes).toString('hex');
  const pairs = headers.map(([name, content]) => [name, hex(content)]);
  return { id, key: hex(key), value: hex(value), headers: pairs, timestamp };
}

async function comeBack(trial: Trial, topic: string, sent: RecordToFrame[]): Promise<void> {
  const places = await trial.accepted(topic, sent);
  const first = places[0] ?? { partition: 0, offset: 0 };
  const read = await trial.readAll(topic, first.partition, first.offset);
  same('number of records that came back', read.length, sent.length);
  sent.forEach((record, index) => {
    same(`record ${index}`, asSent(read[index] as ReadRecord), asSent(record));
  });
}

/** Offset of an accepted entry, type of a refused one. */
function outcomeOf(result: { ok: true; offset: number } | { ok: false; type: string }): number | string {
  return result.ok ? result.offset : result.type;
}
