import { ActivityFailure, ApplicationFailure, CancelledFailure } from '@temporalio/workflow';

/** Message of the failure at the bottom, which is the one that says something. */
export function causeOf(error: unknown): string {
  let deepest: unknown = error;
  while (deepest instanceof Error && deepest.cause instanceof Error) deepest = deepest.cause;
  if (deepest instanceof CancelledFailure) return 'cancelled';
  return deepest instanceof Error ? deepest.message : String(deepest);
}

/** Epoch of the state that a refused one was found to be below; 0 for other failures. */
export function supersedingEpoch(error: unknown): number {
  const cause = applicationFailure(error);
  if (cause?.type !== 'EpochSuperseded') return 0;
  const epoch = cause.details?.[0];
  return typeof epoch === 'number' ? epoch : 0;
}

/** Whether an audit has ended for a reason that no further attempt mends. */
export function failedClosed(error: unknown): boolean {
  return applicationFailure(error)?.type === 'AuditFailedClosed';
}

function applicationFailure(error: unknown): ApplicationFailure | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  return cause instanceof ApplicationFailure ? cause : undefined;
}
