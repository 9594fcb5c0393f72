import { describe, expect, it } from 'vitest';
import { comparisonCheckpointSchema, ObservationJoiner, type JoinerOptions } from '../src/comparator/comparator.js';
import { differingFieldsSchema, FieldCounts } from '../src/comparator/differing-fields.js';
import { packFields } from '../src/consumer/field-digests.js';
import type { Observation, ObservingSide } from '../src/consumer/observation.js';

describe('counts of the fields that differ', () => {
  it('keep what comes again and again, in bounded memory, and say how much is left out', () => {
    const counts = new FieldCounts();
    for (let index = 0; index < 1_000; index += 1) {
      // From the second half on, so that it finds no room left.
      counts.add([`/by-id/${index}`, ...(index % 2 === 0 ? ['/at'] : []), ...(index >= 500 ? ['/late'] : [])]);
    }
    const { fields, unnamed, more } = counts.counts;
    expect(Object.keys(fields)).toHaveLength(100);
    expect(fields).toMatchObject({ '/at': 500, '/late': 500 });
    expect(more).toBe(1_000 - 98);
    expect(unnamed).toBe(0);
  });

  it('go on from what was saved, and leave out pointers that are too long to keep', () => {
    const before = new FieldCounts();
    before.add(['/at']);
    before.add([`/${'x'.repeat(300)}`, '']);
    const saved = differingFieldsSchema.parse(JSON.parse(JSON.stringify(before.counts)));
    const after = new FieldCounts(saved);
    after.add(['/at']);
    after.add([]);
    expect(after.counts).toEqual({ fields: { '/at': 2, '': 1 }, unnamed: 1, more: 1 });
  });

  it('are of different outputs alone, where they are asked for, and outlive a crash', () => {
    const options: JoinerOptions = { groups: ['g'], latenessMs: 0, countFields: true };
    const log = [0, 1, 2, 3].flatMap((kafka) => [observation('live', kafka), observation('shadow', kafka)]);
    const read = (from: number, to: number, joiner: ObservationJoiner) => {
      for (const [at, one] of log.entries()) if (at >= from && at < to) joiner.add(0, at, one);
      joiner.reached(0, to);
      return joiner;
    };
    const first = read(0, 5, new ObservationJoiner(options));
    const checkpoint = comparisonCheckpointSchema.parse(JSON.parse(JSON.stringify(first.checkpoint())));
    const resumed = new ObservationJoiner(options, checkpoint);
    for (;;) {
      const next = resumed.nextRead(0, 5, () => undefined);
      if (next === undefined) break;
      read(next.from, next.to, resumed);
    }
    read(5, 8, resumed);
    const whole = read(0, 8, new ObservationJoiner(options));
    // Kafka offset 0 is the same on both sides; 3 fails on both, each in its way.
    expect(resumed.result('g').differing).toEqual({ fields: { '/a': 1, '/b': 2 }, unnamed: 1, more: 0 });
    expect(whole.result('g').differing).toEqual(resumed.result('g').differing);
    const uncounted = read(0, 8, new ObservationJoiner({ ...options, countFields: false }));
    expect(uncounted.result('g')).toMatchObject({ counts: { different: 3 }, differing: undefined });
    expect(uncounted.checkpoint().groups['g']).not.toHaveProperty('differing');
  });
});

/** With as many fields that differ as its offset says. */
function observation(side: ObservingSide, kafka: number): Observation {
  const fields = { '/a': kafka > 1 ? side : 'same', '/b': kafka > 0 ? side : 'same' };
  const digest = JSON.stringify(fields);
  return {
    version: 1,
    migration: 'm',
    group: 'g',
    side,
    topic: 't',
    partition: 0,
    id: `id-${kafka}`,
    kafka,
    time: kafka,
    key: null,
    epoch: 1,
    ...(kafka === 3
      ? { error: { name: side, digest: side } }
      : { output: { digest, whole: digest, fields: packFields(fields), truncated: false } }),
  };
}
