import type { AcknowledgedPattern } from './verdicts.js';
import type { DiscrepancySample } from './samples.js';

/** A word as a POSIX shell takes it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Bound of the `acknowledge` update on what one pattern names. */
const MAX_FIELDS = 64;

/** The narrowest pattern that excuses a discrepancy of this kind, and leaves all others. */
export function patternOf(group: string, sample: DiscrepancySample): AcknowledgedPattern {
  const { verdict, topic, handlerVersion } = sample;
  // Patterns are held against the shadow's version; where it never was, against the live one's.
  const version = verdict === 'missing' ? handlerVersion?.live : handlerVersion?.shadow;
  const fields = sample.fields ?? [];
  // A difference of the whole, or one that is not told apart, is in no pointer that a pattern takes.
  const named = verdict === 'different' && fields.length > 0 && fields.length <= MAX_FIELDS;
  return {
    group,
    verdict,
    topic,
    ...(named && fields.every((field) => field.startsWith('/')) ? { fields } : {}),
    ...(version === undefined ? {} : { handlerVersion: version }),
  };
}

/** The command that excuses exactly what a sample shows; reason and author are for the person to fill in. */
export function acknowledgeCommand(migration: string, group: string, sample: DiscrepancySample): string {
  return updateCommand(migration, 'acknowledge', {
    ...patternOf(group, sample),
    reason: 'WHY IT IS ALL RIGHT',
    by: 'WHO SAYS SO',
  });
}

/** A command that sends an update to the migration. */
export function updateCommand(migration: string, name: string, input: unknown): string {
  const words = ['--workflow-id', migration, '--name', name, '--input', JSON.stringify(input)];
  return `temporal workflow update execute ${words.map(shellWord).join(' ')}`;
}

/** A command of this package. */
export function bridgeCommand(...words: string[]): string {
  return `kafka-bridge ${words.map(shellWord).join(' ')}`;
}
