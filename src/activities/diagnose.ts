import { log } from '@temporalio/activity';
import { diagnoseFindings, isLiving, type ComparisonReport } from '@owlmq/kafka-bridge/operations';
import { MAX_DIAGNOSES } from '../workflows/diagnoses.js';
import type { Dependencies } from './dependencies.js';
import type { DiagnosisReport } from './migration-activities.js';

/** What is likely behind the discrepancies of a comparison, in bounded time. Never rejects: a failure is told in it. */
export async function diagnose(
  { kafka, owlmq, roster, routing }: Dependencies,
  migration: string,
  { groups }: ComparisonReport,
  signal: AbortSignal,
): Promise<DiagnosisReport> {
  const findings = Object.entries(groups).map(([group, of]) => ({ group, ...of }));
  try {
    const { diagnoses, notLooked } = await diagnoseFindings(findings, {
      connection: kafka,
      clientId: 'owlmq-migration-worker',
      migration,
      owlmq,
      members: roster
        .members(migration)
        .filter(isLiving)
        .map(({ report }) => report),
      routing: () => routing.read(migration),
      signal,
    });
    return { diagnoses: diagnoses.slice(0, MAX_DIAGNOSES), notLooked };
  } catch (error) {
    log.warn('discrepancies could not be diagnosed', { error });
    return { diagnoses: [], notLooked: [`Could not look: ${error instanceof Error ? error.message : String(error)}`] };
  }
}
