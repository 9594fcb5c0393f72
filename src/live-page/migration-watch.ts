import { pause, type MemberRoster, type Side } from '@owlmq/kafka-bridge/operations';
import type { LiveView, RateSample } from '@owlmq/kafka-bridge/live-view';
import { lookAtLegs } from '../leg-look.js';
import { buildView } from './build-view.js';
import type { FoundMigration, Migrations } from './migrations.js';
import { PageProblem } from './page-problem.js';
import { RateSeries } from './rate-series.js';

/** What a watch looks at. */
export interface Watched {
  migrations: Migrations;
  roster: MemberRoster;
  sides: { kafka: Side; owlmq: Side };
  onError: (error: unknown) => void;
}

/** Told undefined when it cannot be seen any more. */
type Listener = (view: LiveView | undefined) => void;

const LOOK_EVERY_MS = 2_000;
/** Nothing changes any more in a run that has ended, and each query makes a worker replay it. */
const LOOK_AT_ENDED_EVERY_MS = 30_000;

/** Looks at one migration for as long as somebody wants to know: once for all of them. */
export class MigrationWatch {
  readonly #series = new RateSeries();
  readonly #listeners = new Set<Listener>();
  #last: { view: LiveView; at: number; found: FoundMigration } | undefined;
  #looking: Promise<LiveView> | undefined;
  #following = false;

  constructor(
    readonly migration: string,
    private readonly watched: Watched,
  ) {}

  get isFollowed(): boolean {
    return this.#listeners.size > 0;
  }

  /** Rates since somebody first looked, an hour of looks at the most. */
  get samples(): readonly RateSample[] {
    return this.#series.samples;
  }

  /**
   * The migration as of now, or of a moment ago.
   *
   * @throws {PageProblem} `unknown-migration`; `unavailable` when it was never seen.
   */
  async latest(): Promise<LiveView> {
    const last = this.#last;
    if (last !== undefined && performance.now() - last.at < LOOK_EVERY_MS / 2) return last.view;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return await this.#looking;
  }

  /** Tells of every look from now on. Returns a function that ends it; with the last one the looking ends. */
  follow(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (!this.#following) {
      this.#following = true;
      this.#followOn().catch(this.watched.onError);
    }
    return () => this.#listeners.delete(listener);
  }

  async #followOn(): Promise<void> {
    try {
      for (;;) {
        const ended = this.#last !== undefined && this.#last.view.run !== 'running';
        await pause(ended ? LOOK_AT_ENDED_EVERY_MS : LOOK_EVERY_MS);
        if (!this.isFollowed) return;
        // Once it was seen, this fails only where it is gone.
        const view = await this.latest().catch(this.watched.onError);
        for (const listener of [...this.#listeners]) listener(view ?? undefined);
      }
    } finally {
      this.#following = false;
    }
  }

  async #look(): Promise<LiveView> {
    const unread: string[] = [];
    const found = await this.#find(unread);
    const { migration, watched } = this;
    const legs = await lookAtLegs(watched.sides, found.status);
    const at = new Date().toISOString();
    const rates = this.#series.add(legs.ends);
    const members = watched.roster.members(migration);
    unread.push(...legs.unread);
    const view = buildView({ ...found, migration, at, lags: legs.lags, members, rates, unread });
    this.#last = { view, at: performance.now(), found };
    return view;
  }

  /** With Temporal gone what it said last, which the view then says. */
  async #find(unread: string[]): Promise<FoundMigration> {
    try {
      return await this.watched.migrations.find(this.migration);
    } catch (error) {
      if (!(error instanceof PageProblem) || error.type !== 'unavailable' || this.#last === undefined) throw error;
      unread.push(`phase and status, which are older: ${error.detail}`);
      return this.#last.found;
    }
  }
}

/** Migrations that somebody has looked at; those that nobody did for the longest time are forgotten. */
const MOST_WATCHES = 100;

/** The watches of a worker, one a migration. */
export class MigrationWatches {
  readonly #watches = new Map<string, MigrationWatch>();

  constructor(private readonly watched: Watched) {}

  /** @throws {PageProblem} `throttled` when too many are followed at once. */
  of(migration: string): MigrationWatch {
    const watch = this.#watches.get(migration) ?? this.#begin(migration);
    // The map is in the order of the last look.
    this.#watches.delete(migration);
    this.#watches.set(migration, watch);
    return watch;
  }

  /** A name that no migration has leaves nothing behind. */
  forget({ migration }: MigrationWatch): void {
    this.#watches.delete(migration);
  }

  #begin(migration: string): MigrationWatch {
    if (this.#watches.size >= MOST_WATCHES) {
      const idle = [...this.#watches.values()].find((watch) => !watch.isFollowed);
      if (idle === undefined)
        throw new PageProblem('throttled', 'Too many migrations are looked at: close some pages.');
      this.forget(idle);
    }
    return new MigrationWatch(migration, this.watched);
  }
}
