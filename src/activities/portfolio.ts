import { eachLimited, pause, throwAll } from '@owlmq/kafka-bridge/operations';
import {
  isGrpcDeadlineError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  type Client,
  type WorkflowHandle,
} from '@temporalio/client';
import { isDeepStrictEqual } from 'node:util';
import { MIGRATION_TYPE } from '../migrations-of.js';
import { causeOf } from '../workflows/failures.js';
import type { migrateKafkaToOwlmq } from '../workflows/playbook.js';
import type { MigrationStatus } from '../workflows/status.js';
import type { Dependencies } from './dependencies.js';
import { sliceEnd, withHeartbeat } from './heartbeat.js';
import type { MigrationStanding, PortfolioActivities } from './portfolio-activities.js';

/** Time between two looks; longer with many migrations, so that looks cost the server no more than twenty calls a second. */
const LOOK_EVERY_MS = 1_000;
const PER_MIGRATION_MS = 50;
/** Migrations that are asked at a time. */
const AT_A_TIME = 5;
/** A run answers once a worker has taken it up again; one that does not is told of, and asked again. */
const ANSWER_WITHIN_MS = 10_000;

/**
 * The steps that tell a portfolio where its migrations stand.
 *
 * @param systems `client`: of the worker's namespace, with the codec that its runs are written with.
 */
export function portfolioActivities({
  client,
  temporal,
}: Pick<Dependencies, 'temporal'> & { client: Client }): PortfolioActivities {
  return {
    findMigrations: async ({ ids }) => {
      const look = new Look(client);
      return { migrations: await look.at(ids), searchAttributes: (await temporal()).searchAttributes };
    },

    watchMigrations: ({ known, sliceMs }) =>
      withHeartbeat<MigrationStanding[], undefined>(async ({ signal }) => {
        const look = new Look(client);
        const ids = known.map(({ id }) => id);
        const end = sliceEnd(sliceMs);
        for (;;) {
          const standings = await look.at(ids);
          if (signal.aborted || Date.now() >= end || !isDeepStrictEqual(standings, known)) return standings;
          await pause(Math.max(LOOK_EVERY_MS, ids.length * PER_MIGRATION_MS), signal);
        }
      }),
  };
}

/** Looks at migrations again and again: a run whose history has not grown is at what it was at. */
class Look {
  readonly #seen = new Map<string, { runId: string; events: number; standing: MigrationStanding }>();

  constructor(private readonly client: Client) {}

  async at(ids: readonly string[]): Promise<MigrationStanding[]> {
    const standings = new Map<string, MigrationStanding>();
    const errors = await eachLimited(ids, AT_A_TIME, async (id) => {
      standings.set(id, await this.#standing(id));
    });
    throwAll(errors, 'a look', 'migrations');
    return ids.flatMap((id) => standings.get(id) ?? []);
  }

  async #standing(id: string): Promise<MigrationStanding> {
    const handle = this.client.workflow.getHandle<typeof migrateKafkaToOwlmq>(id);
    const run = await describe(handle);
    if (run === undefined) return { id, state: 'absent' };
    const { runId, type, status, historyLength } = run;
    if (type !== MIGRATION_TYPE) return { id, state: 'taken', why: `the id belongs to a workflow ${type}` };
    const seen = this.#seen.get(id);
    if (seen?.runId === runId && seen.events === historyLength) return seen.standing;
    const standing =
      status.name === 'RUNNING'
        ? await this.#asked(id, handle)
        : await ended(id, this.client.workflow.getHandle(id, runId, { followRuns: false }));
    // One that could not be asked is asked again.
    if (standing.phase !== undefined) this.#seen.set(id, { runId, events: historyLength, standing });
    return standing;
  }

  async #asked(id: string, handle: WorkflowHandle): Promise<MigrationStanding> {
    try {
      const status = await this.client.withDeadline(Date.now() + ANSWER_WITHIN_MS, () =>
        handle.query<MigrationStatus>('status'),
      );
      const why =
        status.blocked === null
          ? status.phase === 'rolling-back'
            ? `goes back to Kafka: ${status.rollback?.reason ?? ''}`
            : undefined
          : `blocked in "${status.blocked.step}": ${status.blocked.cause}`;
      return { id, state: 'running', phase: status.phase, ...(why === undefined ? {} : { why }) };
    } catch (error) {
      // The text of a deadline has how long it took: it would be news at each look.
      const why = isGrpcDeadlineError(error) ? 'in time' : `(${causeOf(error)})`;
      return { id, state: 'running', why: `does not answer ${why}` };
    }
  }
}

/** @returns undefined where there is no run of this id. */
async function describe(handle: WorkflowHandle) {
  try {
    return await handle.describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

async function ended(id: string, handle: WorkflowHandle<typeof migrateKafkaToOwlmq>): Promise<MigrationStanding> {
  try {
    const { phase, rollback } = await handle.result();
    if (phase === 'completed') return { id, state: phase, phase };
    return { id, state: 'rolled-back', phase, why: `rolled back: ${rollback?.reason ?? 'no reason is known'}` };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return { id, state: 'failed', phase: 'failed', why: causeOf(error) };
  }
}
