import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { open, type Database, type RootDatabase } from 'lmdb';
import { OwlmqLocalConfigError } from '../config-error.js';
import { ProblemError } from '../http/problem.js';

/** A table of the store: bytes by bytes, in the order of the keys. */
export type Table = Database<Buffer, Buffer>;

/** What a queued write may do while its turn lasts. */
export interface WriteTurn {
  put(table: Table, key: Buffer, value: Buffer): void;
  /** Runs when all of the turn is on disk. */
  onDurable(effect: () => void): void;
}

interface QueuedWrite {
  bytes: number;
  run: (turn: WriteTurn) => () => void;
  fail: (error: unknown) => void;
}

/** Bytes of queued writes that go into one transaction. */
const MAX_TURN_BYTES = 32 * 1024 * 1024;
/** How long lmdb may take to say why a commit failed. */
const REASON_WAIT_MS = 1000;
/** Folders open in this process; lmdb would share one environment between them and hide the mistake. */
const openFolders = new Set<string>();

/**
 * The durable store: lmdb tables and one queue of writes.
 *
 * All queued writes run in their order and share a transaction; the next transaction begins when the last one is on
 * disk. So one fsync serves everyone who waited, and a write resolves only when it would outlive a power cut.
 *
 * When a transaction fails (a full disk, an I/O error) the store fails for good: what is in memory is then ahead of
 * the disk, and only a restart brings the two together again.
 */
export class Store {
  readonly topics: Table;
  readonly segments: Table;
  readonly ids: Table;
  readonly groups: Table;
  readonly offsets: Table;
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #folder: string;
  readonly #observeFlush: (seconds: number) => void;
  readonly #onFailure: (error: unknown) => void;
  #queue: QueuedWrite[] = [];
  #writing: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(folder: string, observeFlush: (seconds: number) => void, onFailure: (error: unknown) => void) {
    this.#folder = resolve(folder);
    this.#observeFlush = observeFlush;
    this.#onFailure = onFailure;
    if (openFolders.has(this.#folder)) {
      throw new OwlmqLocalConfigError(`The data folder ${this.#folder} is open already in this process`);
    }
    mkdirSync(this.#folder, { recursive: true });
    // overlappingSync would resolve a commit before it is on disk; without it lmdb syncs within the commit.
    this.#root = open<Buffer, Buffer>({
      path: join(this.#folder, 'owlmq.mdb'),
      noSubdir: true,
      overlappingSync: false,
      // Every write is in an explicit batch. Those of lmdb's own making would reject where nobody can catch it.
      eventTurnBatching: false,
      maxDbs: 8,
      encoding: 'binary',
      keyEncoding: 'binary',
    });
    const table = (name: string): Table =>
      this.#root.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
    this.topics = table('topics');
    this.segments = table('segments');
    this.ids = table('ids');
    this.groups = table('groups');
    this.offsets = table('offsets');
    this.#refuseSecondProcess();
    openFolders.add(this.#folder);
  }

  /** Why the store has failed; undefined while it works. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Queues a write and resolves with its result when it is on disk. A `ProblemError` that `run` throws refuses that
   * write alone and must come before its first change.
   *
   * @throws {ProblemError} `unavailable` when the store has failed.
   */
  write<T>(bytes: number, run: (turn: WriteTurn) => T): Promise<T> {
    return new Promise<T>((resolveWrite, rejectWrite) => {
      if (this.#failure !== undefined) {
        rejectWrite(this.#unavailable());
        return;
      }
      const queued = (turn: WriteTurn): (() => void) => {
        const result = run(turn);
        return () => {
          resolveWrite(result);
        };
      };
      this.#queue.push({ bytes, run: queued, fail: rejectWrite });
      this.#writing ??= this.#drain();
    });
  }

  /** Finishes the queued writes and closes the files. */
  async close(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    await this.#root.close();
    openFolders.delete(this.#folder);
  }

  /** lmdb lists who reads its files; offsets are counted in memory, so a second process would give them twice. */
  #refuseSecondProcess(): void {
    this.topics.get(Buffer.from('.'));
    this.#root.readerCheck();
    const pids = [...this.#root.readerList().matchAll(/^\s*(\d+)\s/gm)].map((match) => Number(match[1]));
    const other = pids.find((pid) => pid !== process.pid);
    if (other === undefined) return;
    throw new OwlmqLocalConfigError(`The data folder ${this.#folder} is in use by process ${other}`);
  }

  async #drain(): Promise<void> {
    try {
      // Requests that arrived in the same turn of the event loop belong in the same transaction.
      await new Promise((resolveTurn) => setImmediate(resolveTurn));
      while (this.#queue.length > 0 && this.#failure === undefined) await this.#writeTurn(this.#takeTurn());
    } finally {
      this.#writing = undefined;
    }
  }

  #takeTurn(): QueuedWrite[] {
    let bytes = 0;
    const last = this.#queue.findIndex((write) => (bytes += write.bytes) >= MAX_TURN_BYTES);
    return this.#queue.splice(0, last === -1 ? this.#queue.length : last + 1);
  }

  async #writeTurn(writes: QueuedWrite[]): Promise<void> {
    const started = performance.now();
    const settle: (() => void)[] = [];
    const effects: (() => void)[] = [];
    const staged: [Table, Buffer, Buffer][] = [];
    const turn: WriteTurn = {
      put: (...put) => staged.push(put),
      onDurable: (effect) => effects.push(effect),
    };
    try {
      // All of them run before anything is handed to lmdb: a batch whose callback throws is committed as far as it got.
      for (const write of writes) {
        try {
          settle.push(write.run(turn));
        } catch (error) {
          if (!(error instanceof ProblemError)) throw error;
          write.fail(error);
        }
      }
      // lmdb hands out one promise for all puts of a batch.
      const puts = new Set<Promise<boolean>>();
      const batch = this.#root.batch(() => {
        for (const [table, key, value] of staged) puts.add(table.put(key, value));
      });
      await Promise.all([batch, ...puts]);
    } catch (error) {
      this.#fail(await reasonOf(error), writes);
      return;
    }
    this.#observeFlush((performance.now() - started) / 1000);
    for (const effect of effects) effect();
    for (const done of settle) done();
  }

  #fail(error: unknown, writes: QueuedWrite[]): void {
    this.#failure = new Error('The store failed', { cause: error });
    for (const write of [...writes, ...this.#queue]) write.fail(this.#unavailable());
    this.#queue = [];
    this.#onFailure(error);
  }

  #unavailable(): ProblemError {
    return new ProblemError(
      'unavailable',
      'The storage failed; see the log of the server and restart it',
      {},
      { cause: this.#failure },
    );
  }
}

/** lmdb tells why a commit failed in a promise of its own, shortly after. */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (commitError === undefined) return error;
  const told = commitError.catch((reason: unknown) => reason);
  return Promise.race([told, sleep(REASON_WAIT_MS, error)]);
}
