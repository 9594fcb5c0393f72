import type { DiagnosisReport, SoakComparison } from '../activities/migration-activities.js';

/** Bound on what a report holds and what is kept: it goes into the history, and along with the state. */
export const MAX_DIAGNOSES = 10;

/** What the parts of a comparison say is behind their new discrepancies; undefined when none of them has any. */
export function joinDiagnoses(reports: readonly SoakComparison[]): DiagnosisReport | undefined {
  const told = reports.flatMap(({ diagnosis }) => (diagnosis === undefined ? [] : [diagnosis]));
  if (told.length === 0) return undefined;
  const causes = new Map<string, DiagnosisReport['diagnoses'][number]>();
  for (const diagnosis of told.flatMap(({ diagnoses }) => diagnoses)) {
    const key = JSON.stringify([diagnosis.group, diagnosis.what]);
    const known = causes.get(key) ?? diagnosis;
    causes.set(key, { ...known, verdicts: [...new Set([...known.verdicts, ...diagnosis.verdicts])] });
  }
  return {
    diagnoses: [...causes.values()].slice(0, MAX_DIAGNOSES),
    notLooked: [...new Set(told.flatMap(({ notLooked }) => notLooked))],
  };
}
