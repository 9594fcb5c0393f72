import { LogUnavailableError } from '../kafka/log-reader.js';
import type { Leg } from '../message/headers.js';

/**
 * A position that an audit was to read from is no longer in the log: retention passed it, or the topic was made anew.
 * Going on would call records proven that nobody looked at.
 */
export class AuditPositionLostError extends Error {
  override readonly name = 'AuditPositionLostError';
  constructor(
    readonly leg: Leg,
    readonly topic: string,
    readonly partition: number,
    /** Next offset to read. */
    readonly position: number,
    readonly beginOffset: number,
    readonly endOffset: number,
    options?: ErrorOptions,
  ) {
    super(
      `${leg} ${topic}/${partition}: position ${position} is outside of the log, which holds ${beginOffset} to ${endOffset}. ` +
        (position < beginOffset
          ? 'Retention has passed it: records from there to the begin were never checked.'
          : 'The log was cut or the topic was made anew.'),
      options,
    );
  }
}

/** A leg refused records that the audit was to write to it. The positions stay before them. */
export class AuditRepairError extends Error {
  override readonly name = 'AuditRepairError';
  constructor(
    /** The leg that was to be repaired. */
    readonly leg: Leg,
    readonly topic: string,
    readonly partition: number,
    /** Refused records, by their offset on the other leg; capped. */
    readonly refused: readonly { id: string; offset: number; reason: string }[],
    options?: ErrorOptions,
  ) {
    super(
      `${leg} ${topic}/${partition} does not take records that are missing there: ` +
        refused.map(({ id, offset, reason }) => `${id} (offset ${offset} on the other leg): ${reason}`).join('; '),
      options,
    );
  }
}

/** An audit's topics do not have the partitions that its positions are for. */
export class AuditPartitionsError extends Error {
  override readonly name = 'AuditPartitionsError';
  constructor(
    readonly leg: Leg,
    readonly topic: string,
    readonly expected: number,
    readonly found: number | undefined,
  ) {
    super(
      found === undefined
        ? `Topic ${topic} does not exist on ${leg}.`
        : `Topic ${topic} has ${found} partitions on ${leg}, and positions were given for ${expected}. ` +
            'Adding partitions moves keys: it is not supported while a migration runs.',
    );
  }
}

/** A log answers with no records where its bounds say that it has some. */
export class LogReadStalledError extends Error {
  override readonly name = 'LogReadStalledError';
}

/** Whether Kafka was waited for in vain: then it is not asked for further partitions either. */
export function isKafkaAway(error: unknown): boolean {
  return error instanceof LogUnavailableError;
}

/** Throws what went wrong over partitions, or others: the one error, or all together. */
export function throwAll(errors: readonly unknown[], what: string, of = 'partitions'): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) {
    const messages = errors.map((error) => (error instanceof Error ? error.message : String(error)));
    throw new AggregateError(errors, `${what} failed on ${errors.length} ${of}: ${messages.join(' | ')}`);
  }
}

/** A checkpoint is of a later version of this software: it may say what this one does not know of. */
export class AuditCheckpointError extends Error {
  override readonly name = 'AuditCheckpointError';
  constructor(version: number, known: number) {
    super(
      `The audit's checkpoint has version ${version}, and this software knows ${known}. Run a version that wrote it, or a later one.`,
    );
  }
}
