import type { WorkflowHandle } from '@temporalio/client';

type Event = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];

const NEWEST = 60;

/** The newest events of a run, a line each: for a run that does not end. */
export async function historyInWords(handle: WorkflowHandle): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).slice(-NEWEST).map(words);
}

function words(event: Event): string {
  const seconds = Number(event.eventTime?.seconds ?? 0) + (event.eventTime?.nanos ?? 0) / 1e9;
  const at = new Date(seconds * 1_000).toISOString().slice(11, 23);
  const [attributes] = Object.entries(event).filter(
    ([name, value]) => name.endsWith('EventAttributes') && value != null,
  );
  const kind = attributes?.[0].replace('EventAttributes', '') ?? 'event';
  const { activityType, scheduledEventId, failure, startToFireTimeout } = (attributes?.[1] ?? {}) as {
    activityType?: { name?: string };
    scheduledEventId?: { toString(): string };
    failure?: { message?: string; cause?: { message?: string } };
    startToFireTimeout?: { seconds?: { toString(): string } };
  };
  const summary = event.userMetadata?.summary?.data;
  const details = [
    activityType?.name,
    summary == null ? undefined : Buffer.from(summary).toString(),
    scheduledEventId == null ? undefined : `of ${scheduledEventId.toString()}`,
    startToFireTimeout == null ? undefined : `${startToFireTimeout.seconds?.toString() ?? '0'} s`,
    failure?.message,
    failure?.cause?.message,
  ];
  return [at, String(event.eventId), kind, ...details.filter((detail) => detail !== undefined && detail !== '')].join(
    ' ',
  );
}
