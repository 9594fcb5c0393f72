import { expect, it } from 'vitest';
import type { DiagnosisReport, SoakComparison } from '../../src/activities/migration-activities.js';
import { joinDiagnoses } from '../../src/workflows/diagnoses.js';

type Diagnosis = DiagnosisReport['diagnoses'][number];

function cause(change: Partial<Diagnosis>): Diagnosis {
  return {
    ...{ group: 'payments', verdicts: ['missing'], id: 'id-1', what: 'Keys are not hashed alike.' },
    ...{ evidence: [], todo: 'Look.', next: 'kafka-bridge audit' },
    ...change,
  };
}

function part(diagnoses?: Diagnosis[], notLooked: string[] = []): SoakComparison {
  const diagnosis = diagnoses === undefined ? {} : { diagnosis: { diagnoses, notLooked } };
  return { checkpoint: null, groups: {}, samples: [], ...diagnosis };
}

it('tells a cause of several parts once, with all its verdicts, and what any of them could not look at', () => {
  expect(joinDiagnoses([part(), part()])).toBeUndefined();
  const other = cause({ group: 'mails' });
  const joined = joinDiagnoses([
    part([cause({})], ['OwlMQ']),
    part(),
    part([cause({ verdicts: ['unexpected'], id: 'id-2' }), other], ['OwlMQ', 'Kafka']),
  ]);
  expect(joined).toEqual({
    diagnoses: [cause({ verdicts: ['missing', 'unexpected'] }), other],
    notLooked: ['OwlMQ', 'Kafka'],
  });
  const many = Array.from({ length: 50 }, (_, index) => cause({ what: String(index) }));
  expect(joinDiagnoses([part(many)])?.diagnoses).toHaveLength(10);
});
