import { pause } from '../../async/bounded.js';
import type { LogReader } from '../../kafka/log-reader.js';
import type { OffsetSyncWriter } from '../../offsets/sync-log.js';
import type { OwlmqApi } from '../../owlmq/owlmq-api.js';
import { partitionsInOrder } from '../../owlmq/partitions-in-order.js';
import type { CliIo } from '../cli-io.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { LiveText } from '../live-text.js';
import { count, duration, plural } from '../words.js';
import { writeCheckpoint } from './checkpoint-file.js';
import type { LegAudit, LegEnds } from './leg-audit.js';
import { isAtParity, parityLines, parityTable, ratesBetween, type Rates, type TopicParity } from './parity.js';

interface AuditRunOptions {
  legs: LegAudit;
  topics: string[];
  direction: 'kafka-to-owlmq' | 'both';
  repair: boolean;
  follow: boolean;
  output: 'table' | 'json';
  checkpointFile: string | undefined;
  /** Where to leave what is known of positions; nowhere when nothing is to be written. */
  syncs: OffsetSyncWriter | undefined;
  reader: LogReader;
  owlmq: OwlmqApi;
  io: CliIo;
}

/** Short, so that Ctrl-C is heeded soon: it waits for the step under way. */
const STEP_MS = 500;
/** Pause after a step that got no further. */
const IDLE_MS = 200;
const SAVE_EVERY_MS = 1_000;
const SHOW_EVERY_MS = 500;
/** How often progress is told where nothing can be shown in place. */
const TELL_EVERY_MS = 10_000;
/** Rates are of about this time. */
const RATE_MS = 5_000;

/** One run of the audit: steps, shows, keeps its place, until the ends of its begin are reached or a person ends it. */
export class AuditRun {
  readonly #options: AuditRunOptions;
  readonly #screen: LiveText;
  readonly #started = performance.now();
  readonly #readings: { at: number; parity: Record<string, TopicParity> }[] = [];
  readonly #atStart: Record<string, TopicParity>;
  #savedAt = 0;
  #shownAt = 0;
  #toldAt = performance.now();

  constructor(options: AuditRunOptions) {
    this.#options = options;
    this.#screen = new LiveText(options.io);
    this.#atStart = options.legs.parity();
  }

  async run(): Promise<ExitCode> {
    const { legs, io, follow, syncs } = this.#options;
    const ends = await this.#ends();
    const stop = new AbortController();
    const abort = new AbortController();
    const release = io.onInterrupt(() => {
      if (stop.signal.aborted) abort.abort();
      stop.abort();
    });
    let complete = false;
    try {
      while (!stop.signal.aborted && !complete) {
        const before = legs.progress(ends).passed;
        const step = await legs.step(STEP_MS, abort.signal);
        const { passed, left } = legs.progress(ends);
        complete = left === 0 && !follow;
        await this.#save(false);
        if (syncs !== undefined) await legs.note(syncs, complete);
        this.#show(passed, left, step);
        if (!complete && passed === before) await pause(IDLE_MS, stop.signal);
      }
    } catch (error) {
      // A second Ctrl-C breaks off the page in hand; what was passed before it stands.
      if (!abort.signal.aborted) throw error;
    } finally {
      release();
      this.#screen.clear();
      await this.#save(true);
      this.#print(ends, complete);
    }
    if (!complete && !follow) return EXIT.interrupted;
    return Object.values(legs.parity()).every(isAtParity) ? EXIT.ok : EXIT.differences;
  }

  async #ends(): Promise<LegEnds> {
    const { reader, owlmq, topics } = this.#options;
    const ends: LegEnds = { kafka: {}, owlmq: {} };
    for (const topic of topics) {
      // Kafka first: then every copy below its end is of a record below OwlMQ's end.
      ends.kafka[topic] = await reader.ends(topic);
      const partitions = partitionsInOrder(await owlmq.describeTopic(topic));
      ends.owlmq[topic] = partitions.map(({ endOffset }) => endOffset);
    }
    return ends;
  }

  async #save(last: boolean): Promise<void> {
    const { checkpointFile, direction, topics, repair, legs } = this.#options;
    const now = performance.now();
    if (checkpointFile === undefined || (!last && now - this.#savedAt < SAVE_EVERY_MS)) return;
    this.#savedAt = now;
    const writtenAt = new Date().toISOString();
    const checkpoint = legs.checkpoint();
    await writeCheckpoint(checkpointFile, { version: 1, direction, topics, repair, writtenAt, checkpoint });
  }

  #show(passed: number, left: number, step: { waiting: number; oldestUnprovenMs?: number }): void {
    const { io, legs } = this.#options;
    const now = performance.now();
    if (now - this.#shownAt < SHOW_EVERY_MS) return;
    this.#shownAt = now;
    const parity = legs.parity();
    const rates = this.#recentRates(parity);
    const oldest = step.oldestUnprovenMs === undefined ? '' : ` (oldest ${duration(step.oldestUnprovenMs)})`;
    const line =
      `${plural(passed, 'offset')} checked, ${left === 0 ? 'at the end' : `${count(left)} left`}` +
      (step.waiting === 0 ? '' : `; waiting for ${plural(step.waiting, 'copy', 'copies')}${oldest}`);
    if (io.columns !== undefined) {
      this.#screen.show([...parityTable(parity, rates), '', line]);
    } else if (now - this.#toldAt > TELL_EVERY_MS) {
      this.#toldAt = now;
      io.err(`${line}\n`);
    }
  }

  #recentRates(parity: Record<string, TopicParity>): Rates {
    const now = performance.now();
    this.#readings.push({ at: now, parity });
    while (this.#readings.length > 2 && now - (this.#readings[1]?.at ?? now) > RATE_MS) this.#readings.shift();
    const first = this.#readings.length > 1 ? this.#readings[0] : { at: this.#started, parity: this.#atStart };
    return ratesBetween(first?.parity ?? {}, parity, (now - (first?.at ?? now)) / 1_000);
  }

  /** The figures since the first start; rates of this run. */
  #print(ends: LegEnds, complete: boolean): void {
    const { legs, io, output, direction, repair, follow, checkpointFile } = this.#options;
    const topics = legs.parity();
    const seconds = (performance.now() - this.#started) / 1_000;
    const rates = ratesBetween(this.#atStart, topics, seconds);
    const { passed, left } = legs.progress(ends);
    const parity = Object.values(topics).every(isAtParity);
    if (output === 'json') {
      const found = { direction, repair, complete, parity, seconds, passed, left, topics, rates };
      io.out(`${JSON.stringify({ ...found, checkpoint: legs.checkpoint() }, undefined, 2)}\n`);
      return;
    }
    io.out(`${[...parityTable(topics, rates), '', ...parityLines(topics, repair)].join('\n')}\n`);
    if (complete || follow) return;
    io.out(
      `Ended with ${plural(left, 'offset')} left.${checkpointFile === undefined ? '' : ` The same command goes on from ${checkpointFile}.`}\n`,
    );
  }
}
