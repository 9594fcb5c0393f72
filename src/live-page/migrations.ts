import {
  isGrpcServiceError,
  QueryNotRegisteredError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { rootMessages } from '@owlmq/kafka-bridge/operations';
import type { LiveAction, MigrationList } from '@owlmq/kafka-bridge/live-view';
import { MIGRATION_TYPE, migrationsOf } from '../migrations-of.js';
import type { RequestInput } from '../workflows/messages.js';
import type { MigrationStatus } from '../workflows/status.js';
import { PageProblem } from './page-problem.js';

const ANSWER_WITHIN_MS = 10_000;
const MOST_LISTED = 100;

const keys = {
  phase: defineSearchAttributeKey('MigrationPhase', SearchAttributeType.KEYWORD),
  ratio: defineSearchAttributeKey('MigrationRatio', SearchAttributeType.DOUBLE),
  blocked: defineSearchAttributeKey('MigrationBlocked', SearchAttributeType.BOOL),
  attention: defineSearchAttributeKey('MigrationAttention', SearchAttributeType.KEYWORD),
};

/** The updates, which unlike the signals answer whether they were taken. */
const updateOf: Record<LiveAction, string> = {
  pause: 'pauseMigration',
  resume: 'resumeMigration',
  approve: 'approveMigration',
  rollback: 'rollbackMigration',
};

/** A run as Temporal has it, and what it says of itself. */
export interface FoundMigration {
  run: string;
  status: MigrationStatus;
}

/** The migrations of one task queue, which is that of a worker: others belong to other systems, and are not shown. */
export class Migrations {
  constructor(
    private readonly client: Client,
    private readonly taskQueue: string,
  ) {}

  /**
   * The newest runs, each migration once.
   *
   * @throws {PageProblem} `unavailable` when Temporal does not answer.
   */
  async list(): Promise<MigrationList> {
    const query = migrationsOf(this.taskQueue);
    return await this.#answered(async () => {
      const found = new Map<string, MigrationList['migrations'][number]>();
      for await (const { workflowId, status, startTime, typedSearchAttributes } of this.client.workflow.list({
        query,
        pageSize: MOST_LISTED,
      })) {
        if (found.size === MOST_LISTED) return { migrations: [...found.values()], more: true };
        // Newest first: runs before it are of the past.
        if (found.has(workflowId)) continue;
        found.set(workflowId, {
          ...{ migration: workflowId, run: runWord(status.name), startedAt: startTime.toISOString() },
          phase: typedSearchAttributes.get(keys.phase) ?? null,
          ratio: typedSearchAttributes.get(keys.ratio) ?? null,
          blocked: typedSearchAttributes.get(keys.blocked) ?? null,
          attention: typedSearchAttributes.get(keys.attention) ?? null,
        });
      }
      return { migrations: [...found.values()], more: false };
    });
  }

  /**
   * @throws {PageProblem} `unknown-migration`; `unavailable` when Temporal, or every worker, does not answer.
   */
  async find(migration: string): Promise<FoundMigration> {
    return await this.#answered(async () => {
      const run = await this.#own(migration);
      return { run, status: await this.client.workflow.getHandle(migration).query<MigrationStatus>('status') };
    });
  }

  /**
   * Asks for something as the person who is named, and returns what the migration answers.
   *
   * @throws {PageProblem} `refused`, with the reason; and as `find`: whether it was taken is then not known.
   */
  async ask(
    migration: string,
    action: LiveAction,
    request: { by: string; reason: string; phase?: string },
  ): Promise<string> {
    return await this.#answered(async () => {
      await this.#own(migration);
      return await this.client.workflow
        .getHandle(migration)
        .executeUpdate<string, [RequestInput]>(updateOf[action], { args: [request] });
    });
  }

  /** Nobody is to reach another workflow of the namespace through the page. */
  async #own(migration: string): Promise<string> {
    const { type, taskQueue, status } = await this.client.workflow.getHandle(migration).describe();
    if (type === MIGRATION_TYPE && taskQueue === this.taskQueue) return runWord(status.name);
    throw unknown(migration);
  }

  async #answered<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.client.withDeadline(Date.now() + ANSWER_WITHIN_MS, work);
    } catch (error) {
      throw asProblem(error);
    }
  }
}

function asProblem(error: unknown): unknown {
  if (error instanceof WorkflowNotFoundError) return unknown(error.workflowId, error);
  if (error instanceof WorkflowUpdateFailedError) {
    return new PageProblem('refused', rootMessages(error).join('; '), { cause: error });
  }
  if (error instanceof QueryNotRegisteredError || !(error instanceof Error) || error instanceof PageProblem) {
    return error;
  }
  const grpc = isGrpcServiceError(error.cause) ? error.cause : undefined;
  const why = grpc?.details ?? rootMessages(error).join('; ');
  return new PageProblem(
    'unavailable',
    `Temporal, or the worker that runs the migration, does not answer: ${why}. Look again; what was asked for may have been taken.`,
    { cause: error },
  );
}

function unknown(migration: string, cause?: Error): PageProblem {
  return new PageProblem(
    'unknown-migration',
    `There is no migration ${JSON.stringify(migration)} on the task queue of this worker: its name is the workflow id.`,
    { cause },
  );
}

/** `TIMED_OUT` as people read it. */
function runWord(status: string): string {
  return status.toLowerCase().replaceAll('_', '-');
}
