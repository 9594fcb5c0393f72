import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diagnose, diagnoseAll, type Evidence } from '../src/comparator/diagnosis.js';
import { acknowledgeCommand, patternOf, shellWord } from '../src/comparator/next-commands.js';
import type { DiscrepancySample } from '../src/comparator/samples.js';
import { discrepancyVerdicts } from '../src/comparator/verdicts.js';

const missing: DiscrepancySample = {
  ...{ verdict: 'missing', topic: 't', partition: 1, id: 'm-1', kafka: 70, time: Date.UTC(2026, 2, 1, 14) + 250 },
};
const unexpected: DiscrepancySample = { ...missing, verdict: 'unexpected', partition: 2, owlmq: 5 };
const different: DiscrepancySample = { ...missing, verdict: 'different', owlmq: 5, fields: ['/lines/3/at'] };

const running = [{ instance: 'i-1', shadow: true, live: { 't/0': 90, 't/1': 90, 't/2': 90 } }];

/** Nothing is amiss: what a test changes is the cause. */
function healthy(sample: DiscrepancySample): Evidence {
  return {
    ...{ migration: 'm', group: 'g', sample, samples: [sample], late: 0 },
    routing: { topics: ['t'], groups: ['g'], shadowFrom: { t: [10, 10, 10] } },
    ...{ kafkaPartitions: 3, owlmqPartitions: 3 },
    record: { partition: sample.partition, offset: 70, copied: true },
    copy: { partition: sample.partition, offset: 5, copied: true },
    keyPartition: sample.partition,
    shadowGroup: { name: 'g.shadow', members: 1, assigned: ['t/0', 't/1', 't/2'], committed: 3 },
    members: running,
  };
}

const cases: Record<string, [Evidence, { what: RegExp; seen?: RegExp; todo?: RegExp; next: string }]> = {
  'partition counts': [
    { ...healthy(missing), owlmqPartitions: 2 },
    { what: /3 partitions in Kafka and 2 in OwlMQ/, next: 'temporal workflow update execute' },
  ],
  'no topic in OwlMQ': [
    { ...healthy(missing), owlmqPartitions: null },
    { what: /OwlMQ has no topic t/, next: 'rollbackMigration' },
  ],
  'key hashing, the copy deviates': [
    { ...healthy(missing), copy: { partition: 2, offset: 5, copied: true }, keyPartition: 1 },
    {
      what: /not hashed alike/,
      seen: /murmur2\) gives partition 1/,
      todo: /record in Kafka is where the hash puts it/,
      next: 'kafka-bridge audit --migration m --topics t --from 2026-03-01T14:00:00.000Z',
    },
  ],
  'key hashing, the record deviates': [
    { ...healthy(unexpected), record: { partition: 1, offset: 70, copied: true } },
    { what: /not hashed alike/, todo: /producer in Kafka uses another partitioner/, next: 'kafka-bridge audit' },
  ],
  'key hashing, by the samples alone': [
    { migration: 'm', group: 'g', sample: missing, samples: [missing, unexpected], late: 0 },
    { what: /not hashed alike/, seen: /missing in partition 1 and unexpected in 2/, next: 'kafka-bridge audit' },
  ],
  'no key': [
    { ...healthy(missing), copy: { partition: 2, offset: 5, copied: true }, keyPartition: null },
    { what: /not hashed alike/, seen: /no key/, next: 'kafka-bridge audit' },
  ],
  'missing group': [
    { ...healthy(missing), routing: { topics: ['t'], groups: ['other'] } },
    { what: /Group g is not in the routing state/, seen: /other/, next: 'kafka-bridge routing show m' },
  ],
  'no member': [
    { ...healthy(missing), members: [] },
    { what: /No living DualConsumer of group g/, next: 'kafka-bridge routing show m' },
  ],
  'no shadow in a member': [
    { ...healthy(missing), members: [{ instance: 'i-1', shadow: false, live: {} }] },
    { what: /No member of group g runs a shadow/, seen: /i-1/, next: 'kafka-bridge routing show m' },
  ],
  'no shadow in OwlMQ': [
    { ...healthy(missing), shadowGroup: null },
    { what: /No shadow of group g/, seen: /no group g\.shadow/, next: 'kafka-bridge routing show m' },
  ],
  'shadow reads other topics': [
    { ...healthy(missing), shadowGroup: { name: 'g.shadow', members: 1, assigned: ['u/0'] } },
    {
      what: /shadow side of group g reads other topics.*not t/,
      seen: /It reads u/,
      next: 'kafka-bridge routing show m',
    },
  ],
  'shadow reads not all partitions': [
    { ...healthy(missing), shadowGroup: { name: 'g.shadow', members: 1, assigned: ['t/0', 't/2'] } },
    { what: /do not read all partitions/, seen: /not t\/1/, next: 'kafka-bridge routing show m' },
  ],
  'live side reads other topics': [
    { ...healthy(unexpected), members: [{ instance: 'i-1', shadow: true, live: { 'u/0': 3 } }] },
    { what: /live side of group g reads other topics/, next: 'kafka-bridge routing show m' },
  ],
  'somebody else reads the partition': [
    { ...healthy(unexpected), members: [{ instance: 'i-1', shadow: true, live: { 't/0': 90 } }] },
    { what: /No DualConsumer of group g reads t\/2/, todo: /without the library/, next: 'kafka-consumer-groups.sh' },
  ],
  'before the comparison': [
    { ...healthy(missing), routing: { topics: ['t'], groups: ['g'], shadowFrom: { t: [0, 71, 0] } } },
    { what: /from before the comparison/, seen: /offset 70.*begin at 71/, next: 'kafka-bridge routing show m' },
  ],
  'before the copies began': [
    { ...healthy(missing), copy: null, copiesFrom: 75 },
    { what: /outside of the coverage/, seen: /Kafka offset 75, the message is at 70/, next: '--repair' },
  ],
  'copy never came': [
    { ...healthy(missing), copy: null, copiesFrom: 3 },
    { what: /never came/, seen: /a copy was intended/, next: 'kafka-bridge audit --migration m --topics t' },
  ],
  'copy was late': [
    { ...healthy(missing), copy: { partition: 1, offset: 5, copied: true, via: 'audit' } },
    { what: /later than soak\.lateness/, seen: /\(audit\)/, next: 'kafka-bridge audit' },
  ],
  'shadow was behind the message': [
    { ...healthy(missing), shadowGroup: { name: 'g.shadow', members: 1, assigned: ['t/1'], committed: 6 } },
    { what: /shadow of group g has passed/, seen: /position of g\.shadow is 6/, next: 'kafka-bridge routing show m' },
  ],
  'shadow is behind': [
    healthy(missing),
    { what: /shadow of group g is behind/, seen: /is 3/, next: 'kafka-bridge discrepancies list' },
  ],
  'no record where the copy is from': [
    { migration: 'm', group: 'g', sample: unexpected, samples: [unexpected], late: 0, members: running, record: null },
    { what: /Kafka does not have the message where/, next: 'kafka-bridge audit' },
  ],
  'live side has passed it': [
    healthy(unexpected),
    { what: /live side of group g has passed/, seen: /90.*70/, next: 'kafka-consumer-groups.sh' },
  ],
  'live side is behind': [
    { ...healthy(unexpected), members: [{ instance: 'i-1', shadow: true, live: { 't/2': 70 } }] },
    { what: /live side of group g is behind/, next: 'kafka-consumer-groups.sh' },
  ],
  'repaired behind later ones': [
    {
      ...healthy({ ...different, verdict: 'reordered' }),
      copy: { partition: 1, offset: 5, copied: true, via: 'audit' },
    },
    { what: /bridge wrote copies of t behind/, next: 'kafka-bridge audit' },
  ],
  'other versions of the handler': [
    healthy({ ...different, handlerVersion: { live: '1', shadow: '2' } }),
    { what: /different versions/, seen: /live 1, shadow 2/, next: 'kafka-bridge discrepancies show --migration m m-1' },
  ],
  'an error on one side': [
    healthy({ ...different, verdict: 'failedShadow', error: 'RangeError' }),
    { what: /fails on the shadow alone: RangeError/, seen: /1 of 1/, next: 'kafka-bridge discrepancies show' },
  ],
  'the same fields in all samples': [
    { ...healthy(different), samples: [different, { ...different, id: 'm-0', fields: ['/lines/0/at'] }] },
    {
      what: /All 2 samples .* \/lines\/\*\/at/,
      todo: /ignore: \["\/lines\/\*\/at"\].*Nothing is ignored by itself/,
      next: 'kafka-bridge discrepancies show',
    },
  ],
  'other fields in each sample': [
    { ...healthy(different), samples: [different, { ...different, fields: ['/total'] }] },
    { what: /differ in \/lines/, seen: /not all of them in the same parts/, next: 'kafka-bridge discrepancies show' },
  ],
  'beyond the fields': [
    healthy({ ...different, fields: [] }),
    { what: /beyond the parts/, todo: /capture: true/, next: '--values' },
  ],
};

describe('diagnosis', () => {
  it.each(Object.entries(cases))('%s', (_name, [evidence, { what, seen, todo, next }]) => {
    const found = diagnose(evidence);
    const [told] = found;
    if (told === undefined) throw new Error('Nothing was told.');
    expect(told.what).toMatch(what);
    if (seen !== undefined) expect(told.evidence.join(' ')).toMatch(seen);
    if (todo !== undefined) expect(told.todo).toMatch(todo);
    expect(told.next).toContain(next);
    expect(told).toMatchObject({ group: 'g', verdicts: [evidence.sample.verdict], id: 'm-1' });
    // It goes through a workflow's history.
    expect(JSON.parse(JSON.stringify(found))).toEqual(found);
  });

  it('says something and proposes nothing that it has not seen, whatever could not be looked at', () => {
    const verdict = fc.constantFrom(...discrepancyVerdicts);
    const parts = fc.subarray(
      Object.keys(healthy(missing)).filter((name) => !/^(migration|group|sample|samples|late)$/.test(name)),
    );
    fc.assert(
      fc.property(verdict, parts, (of, dropped) => {
        const sample = { ...different, verdict: of };
        const evidence = Object.fromEntries(
          Object.entries(healthy(sample)).filter(([name]) => !dropped.includes(name)),
        ) as unknown as Evidence;
        const found = diagnose(evidence);
        expect(found.length).toBeGreaterThan(0);
        // All that it was shown is as it should be.
        expect(JSON.stringify(found)).not.toMatch(/hashed alike|partitions in Kafka|never came|coverage|other topics/);
        for (const { what, todo, next } of found) expect([what, todo, next]).not.toContain('');
      }),
    );
  });

  it('tells a cause once, with all verdicts that it explains', () => {
    const pair = [missing, unexpected];
    const evidence = pair.map((sample): Evidence => ({ migration: 'm', group: 'g', sample, samples: pair, late: 0 }));
    expect(diagnoseAll(evidence)).toMatchObject([{ verdicts: ['missing', 'unexpected'] }]);
  });

  it('writes commands that a shell reads as they were meant', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ minLength: 1 }).map((text) => text.replaceAll('\0', '')),
          { maxLength: 5 },
        ),
        (words) => {
          const line = words.map(shellWord).join(' ');
          const out = execFileSync('/bin/sh', ['-c', `for word in ${line}; do printf '%s\\0' "$word"; done`], {
            encoding: 'utf8',
          });
          expect(out.split('\0').slice(0, -1)).toEqual(words);
        },
      ),
      { numRuns: 25 },
    );
    expect(acknowledgeCommand("it's", 'g', different)).toContain(`--workflow-id 'it'\\''s' --name acknowledge`);
  });

  it('acknowledges exactly what a sample shows', () => {
    const versions = { handlerVersion: { live: '1', shadow: '2' } };
    const pattern = { group: 'g', verdict: 'different', topic: 't' };
    expect(patternOf('g', { ...different, ...versions })).toEqual({
      ...pattern,
      ...{ fields: ['/lines/3/at'], handlerVersion: '2' },
    });
    // The whole, or what is not told apart, is in no pattern of fields.
    expect(patternOf('g', { ...different, fields: [''] })).toEqual(pattern);
    expect(patternOf('g', { ...missing, ...versions })).toEqual({
      ...pattern,
      verdict: 'missing',
      handlerVersion: '1',
    });
  });
});
