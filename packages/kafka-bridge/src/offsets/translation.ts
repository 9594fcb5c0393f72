/**
 * The arithmetic of offset translation, on what was read of both legs. Nothing here reads or writes.
 *
 * A group has consumed its source leg up to its commit. Its place on the target leg is the lowest target offset of all
 * that it has not consumed: from there on it misses nothing. What lies behind that place and was consumed already
 * comes again, which is said, and listed.
 */

/** Where a group goes on after a change of legs, for one partition. */
export interface OffsetTranslation {
  topic: string;
  partition: number;
  /** The group's committed offset on the source leg; undefined when it has none. */
  source: number | undefined;
  /** The offset to commit on the target leg; absent when refused. */
  target?: number;
  /**
   * `exact`: exactly the messages that the group has not consumed, each once. `bounded`: all of them, and
   * `redeliveries` more. `refused`: no offset is known that would skip nothing.
   */
  verdict: 'exact' | 'bounded' | 'refused';
  /** Messages that come again. */
  redeliveries?: number;
  /** Ids of the first of them; capped. */
  redeliveredIds?: string[];
  /** Why it was refused, or what was decided for the lack of a commit. */
  reason?: string;
}

/** A record of the source leg. */
export interface SourceRecord {
  /** On the source leg. */
  offset: number;
  id: string;
  /** Where the message is on the target leg; undefined when it is not there. */
  target: number | undefined;
  /** Whether a copy on the target leg was intended. */
  intended: boolean;
}

/** What was read of one partition's source leg. */
export interface SourceLog {
  /** In any order; complete from `committed` on, and from where the audit has proven the copies. */
  records: readonly SourceRecord[];
  /** Next offset that the group would consume. */
  committed: number;
  /**
   * Records from here on may lack a copy: it can only come to lie behind `targetEnd`, where the group will find it. The
   * fence's offset at a cutover; infinity where every record must have its copy.
   */
  fence: number;
}

/** The first step of a translation: the place, or why there is none. */
export type Placement =
  | {
      ok: true;
      target: number;
      /** Ids of the messages that the group has not consumed and the target leg has. */
      unconsumed: Set<string>;
      /** Ids of consumed messages whose copy is not there yet: when it arrives it comes again. */
      late: string[];
    }
  | { ok: false; reason: string };

/** Finds the lowest offset of the target leg behind which nothing unconsumed lies. */
export function place(log: SourceLog, targetEnd: number): Placement {
  let target = targetEnd;
  const unconsumed = new Set<string>();
  const late: string[] = [];
  const missing: SourceRecord[] = [];
  const uncovered: SourceRecord[] = [];
  for (const record of log.records) {
    const consumed = record.offset < log.committed;
    if (record.target === undefined) {
      if (consumed) {
        if (record.intended) late.push(record.id);
      } else if (record.offset < log.fence) {
        (record.intended ? missing : uncovered).push(record);
      }
    } else if (!consumed) {
      unconsumed.add(record.id);
      target = Math.min(target, record.target);
    }
  }
  if (missing.length > 0) {
    return { ok: false, reason: `copies missing: ${shown(missing)}. Run the audit to its end first.` };
  }
  if (uncovered.length > 0) {
    return {
      ok: false,
      reason:
        `outside of coverage: ${shown(uncovered)} not consumed, and not copied when published. ` +
        'Let the group consume them first.',
    };
  }
  return { ok: true, target, unconsumed, late };
}

/** The second step: takes the target leg's records from the place on, and tells the redelivered ones. */
export class Redeliveries {
  readonly #remaining: Set<string>;
  readonly #ids: string[] = [];
  #count = 0;

  constructor(
    placement: Extract<Placement, { ok: true }>,
    /** Most ids that are listed. */
    readonly cap: number,
  ) {
    this.#remaining = new Set(placement.unconsumed);
    for (const id of placement.late) this.#add(id);
  }

  /** Takes the next record of the target leg. */
  next(id: string): void {
    // A message that the target leg has twice comes again too.
    if (!this.#remaining.delete(id)) this.#add(id);
  }

  /** Takes a consumed message that the target leg has behind the place. */
  again(id: string): void {
    this.#add(id);
  }

  /** What the records come to, once all up to the target leg's end were taken. */
  get result(): Pick<OffsetTranslation, 'verdict' | 'redeliveries' | 'redeliveredIds'> {
    return {
      verdict: this.#count === 0 ? 'exact' : 'bounded',
      redeliveries: this.#count,
      ...(this.#count === 0 ? {} : { redeliveredIds: [...this.#ids] }),
    };
  }

  #add(id: string): void {
    this.#count++;
    if (this.#ids.length < this.cap) this.#ids.push(id);
  }
}

/** The group's next offset on the source leg, or why there is none to go by. */
export type Start = { ok: true; committed: number; reason?: string } | { ok: false; reason: string };

/** What to do on partitions without a commit: consume all that is there, or nothing of it. */
export type OffsetReset = 'earliest' | 'latest';

/** Unknown is not zero: decides where a group is, for a source log of these bounds. */
export function start(
  committed: number | undefined,
  bounds: { beginOffset: number; endOffset: number },
  reset: OffsetReset | undefined,
): Start {
  const { beginOffset, endOffset } = bounds;
  if (committed !== undefined && committed >= beginOffset && committed <= endOffset) return { ok: true, committed };
  if (committed !== undefined) {
    return {
      ok: false,
      reason:
        `the commit ${committed} is outside of the log, which holds ${beginOffset} to ${endOffset}: ` +
        'what the group has consumed cannot be told. Set an offset within the log first.',
    };
  }
  const why = 'the group has no commit';
  if (reset !== undefined) {
    return {
      ok: true,
      committed: reset === 'earliest' ? beginOffset : endOffset,
      reason: `${why}; as asked for, it begins at the ${reset} offset`,
    };
  }
  if (beginOffset === endOffset) {
    return { ok: true, committed: endOffset, reason: `${why}, and the partition is empty` };
  }
  return { ok: false, reason: `${why}. Say where it is to begin: reset to earliest or latest.` };
}

function shown(records: readonly SourceRecord[]): string {
  const offsets = records.slice(0, 5).map(({ offset }) => offset);
  return `${records.length} records (offsets ${offsets.join(', ')}${records.length > 5 ? ', …' : ''})`;
}
