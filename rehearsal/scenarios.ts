import { setTimeout as realTime } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { migrateKafkaToOwlmq } from '../src/workflows/playbook.js';
import type { MigrationStatus } from '../src/workflows/status.js';
import type { ModelCall } from './fleet-model.js';
import type { StateModel } from './state-model.js';

export type Handle = WorkflowHandle<typeof migrateKafkaToOwlmq>;

/** What a scenario sees ahead of each call of an activity. */
export interface Moment {
  call: ModelCall;
  /** Calls of this activity so far. */
  nth: number;
  handle: Handle;
  model: StateModel;
  plan: MigrationPlan;
}

/** A run of the playbook, and what befalls it. */
export interface Scenario {
  name: string;
  /** What is done to the run, for a reader who knows the playbook. */
  what: string;
  /** The phase that it has to end in. */
  ends: 'completed' | 'rolled-back';
  before: (moment: Moment) => Promise<void> | void;
}

const BY = 'the rehearsal';
const POLL_MS = 20;
const ANSWER_WITHIN_MS = 20_000;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'completed',
    what: 'The whole playbook. In the first cutover a handler of one group hangs for longer than the window: that attempt must be cancelled, and a later one go through.',
    ends: 'completed',
    before: ({ call, model, plan }) => {
      const fences = model.routing.filter(({ fence }) => fence !== undefined).length;
      if (call.activity !== 'applyRouting' || fences > 0 || (call.argument as RoutingState).fence === undefined) return;
      const [handler] = model.systems.consumers;
      if (handler !== undefined) handler.stuckUntil = call.at + 2 * plan.cutover.window;
    },
  },
  {
    name: 'rollback-while-warm',
    what: 'Up to the warm period. There one publisher is killed, and a rollback is asked for, twice: Kafka gets what it lacks, positions are translated back, and the killed publisher is waited out for its lease.',
    ends: 'rolled-back',
    before: async ({ call, nth, handle, model }) => {
      if (call.activity !== 'watchWarm' || nth !== 3) return;
      const [publisher] = model.systems.publishers;
      if (publisher !== undefined) publisher.diedAt = call.at;
      await askRollback(handle, 'error rate of the rehearsal');
      await handle.signal('rollback', { reason: 'a second one, which changes nothing', by: BY });
    },
  },
  {
    name: 'rollback-in-the-ramp',
    what: 'A rollback in the ramp, before anything was moved: publishers stop copying, consumers never stop.',
    ends: 'rolled-back',
    before: async ({ call, nth, handle }) => {
      if (call.activity === 'auditToOwlmq' && nth === 1) await askRollback(handle, 'second thoughts in the ramp');
    },
  },
  {
    name: 'rollback-with-owlmq-dead',
    what: 'Up to the warm period. There OwlMQ dies, and a rollback is asked for: positions as noted last, nothing skipped, what comes again is counted.',
    ends: 'rolled-back',
    before: async ({ call, nth, handle, model }) => {
      if (call.activity !== 'watchWarm' || nth !== 3) return;
      model.systems.owlmqAlive = false;
      await askRollback(handle, 'OwlMQ does not answer');
    },
  },
];

/** Gives the run what it waits a person for. @returns what was given; undefined when nothing was. */
export async function answer(moment: Moment): Promise<string | undefined> {
  if (!mayWaitForSomebody(moment)) return undefined;
  const { handle } = moment;
  const status = await readStatus(handle);
  if (status.waiting?.for.includes('the approve signal') === true) {
    const before = approvedAt(status);
    await handle.signal('approve', { reason: 'rehearsed', by: BY });
    await until(handle, (now) => approvedAt(now) !== before);
    return `approved in phase ${status.phase}`;
  }
  if (status.blocked?.step === 'cutover') {
    await handle.signal('resume', { reason: 'rehearsed', by: BY });
    await until(handle, ({ blocked }) => blocked === null);
    return `resumed after cancelled attempts of the cutover`;
  }
  return undefined;
}

/** Asking a run for its status takes time, and most calls are of no time at which it waits. */
function mayWaitForSomebody({ call, model, plan }: Moment): boolean {
  const [look] = model.named('checkReadiness');
  if (call.activity === 'watchWarm') {
    const [first] = model.named('watchWarm');
    return call.at - (first?.at ?? call.at) >= plan.warm.duration / 2;
  }
  return ['watchSoak', 'watchAudit'].includes(call.activity) && look !== undefined;
}

function approvedAt({ log }: MigrationStatus): string | undefined {
  return log.findLast(({ text }) => text.includes(`approved by ${BY}`))?.at;
}

/** Asks for it, and lets the activity go on only once the workflow has taken it. */
async function askRollback(handle: Handle, reason: string): Promise<void> {
  await handle.signal('rollback', { reason, by: BY });
  await until(handle, ({ rollback }) => rollback !== null);
}

async function until(handle: Handle, wanted: (status: MigrationStatus) => boolean): Promise<void> {
  const deadline = Date.now() + ANSWER_WITHIN_MS;
  while (!wanted(await readStatus(handle))) {
    if (Date.now() > deadline) throw new Error('the run did not take a signal in time');
    await realTime(POLL_MS);
  }
}

export async function readStatus(handle: Handle): Promise<MigrationStatus> {
  return await handle.query<MigrationStatus>('status');
}
