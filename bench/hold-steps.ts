import type { Client } from '@temporalio/client';

type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;

/** How long one activity of the window took, ms. */
export interface StepTime {
  name: string;
  /** Until a worker took it. */
  queuedMs: number;
  ranMs: number;
  /** From the activity before it, of the window. */
  sinceMs: number;
}

/**
 * The activities from the write that lifts publishers' heads on to the write that lets them go again: what they are held
 * for.
 *
 * @param from summary of the first, without its epoch; `to`: of the last.
 */
export function windowSteps(history: History, from: string, to: string): StepTime[] {
  const steps: StepTime[] = [];
  const scheduled = new Map<string, { name: string; at: number; startedAt: number }>();
  let inside = false;
  let before = 0;
  for (const event of history.events ?? []) {
    const at = Number(event.eventTime?.seconds ?? 0) * 1_000 + (event.eventTime?.nanos ?? 0) / 1e6;
    const plan = event.activityTaskScheduledEventAttributes;
    const start = event.activityTaskStartedEventAttributes;
    const end = event.activityTaskCompletedEventAttributes;
    if (plan != null) {
      const summary = summaryOf(event.userMetadata?.summary?.data);
      if (summary === from) {
        // Of several attempts the last is the one that went through.
        inside = true;
        steps.length = 0;
        before = at;
      }
      if (!inside) continue;
      scheduled.set(String(event.eventId), { name: `${plan.activityType?.name ?? ''}: ${summary}`, at, startedAt: at });
    } else if (start != null) {
      const step = scheduled.get(String(start.scheduledEventId));
      if (step !== undefined) step.startedAt = at;
    } else if (end != null) {
      const step = scheduled.get(String(end.scheduledEventId));
      if (step === undefined) continue;
      steps.push({
        name: step.name,
        queuedMs: step.startedAt - step.at,
        ranMs: at - step.startedAt,
        sinceMs: step.at - before,
      });
      before = at;
      scheduled.delete(String(end.scheduledEventId));
      if (step.name.endsWith(`: ${to}`)) return steps;
    }
  }
  return [];
}

/** As JSON, without the epoch, which is another in each run. */
function summaryOf(data: Uint8Array | null | undefined): string {
  const text = data == null ? '' : (JSON.parse(Buffer.from(data).toString()) as string);
  return text.replace(/^epoch \d+: /, '');
}
