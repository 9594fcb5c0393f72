import { ActivityFailure, ApplicationFailure, condition, isCancellation, TimeoutFailure } from '@temporalio/workflow';
import type { HookEvent, MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { CallHookRequest, HookAnswer } from '../activities/migration-activities.js';
import { callHook } from './activity-proxies.js';
import { causeOf } from './failures.js';
import { now, type Migration } from './migration.js';
import type { HookRecord, MigrationState } from './migration-state.js';
import { textProblems } from './texts.js';
import { together } from './together.js';

type Hook = MigrationPlan['hooks'][number];

/** What hooks are called for. */
export interface HookCall extends Pick<CallHookRequest, 'leg' | 'offsets' | 'moves'> {
  event: HookEvent;
  reason: string;
  /** In a cancel: publishers and consumers wait, as in the window. */
  hurried?: boolean;
}

/** A slice of work that goes on, again and again, while hooks may take hours; ended early by `until`. */
type Beside = (until: () => boolean) => Promise<unknown>;

/** What the `confirmHook` update takes. */
export interface ConfirmHookInput {
  name: string;
  event: HookEvent;
  by: string;
  reason?: string;
  /** False: what was asked for will not be done, and the call fails. */
  ok: boolean;
}

/** Calls that the state keeps. */
const KEPT = 50;

/** While publishers are held. */
const IN_WINDOW: readonly HookEvent[] = ['hold-publishers', 'stop-consumers'];

/** An activity's own end comes first, with what the receiver said last. */
const MARGIN_MS = 2_000;

export function hooksAt(plan: Pick<MigrationPlan, 'hooks'>, event: HookEvent): Hook[] {
  return plan.hooks.filter(({ at }) => at.includes(event));
}

/**
 * Calls the hooks of an event side by side. The first one that fails ends the others.
 *
 * @throws {ApplicationFailure} of type `HookFailed`, with what the hook said.
 */
export async function runHooks(migration: Migration, call: HookCall): Promise<void> {
  const runs = hooksAt(migration.plan, call.event).map((hook) => async () => {
    const record = await callOne(migration, hook, call);
    if (record.state !== 'done') throw ApplicationFailure.nonRetryable(inWords(record), 'HookFailed');
  });
  if (runs.length > 0) await together(runs);
}

/** Calls the hooks of an event side by side, each to its end. @returns those that failed, in words. */
export async function tryHooks(migration: Migration, call: HookCall, beside?: Beside): Promise<string[]> {
  return failedOf(await callAll(migration, hooksAt(migration.plan, call.event), call, beside)).map(inWords);
}

/**
 * Calls the hooks of an event until every one of them is done. What fails blocks the run, and is called again once
 * somebody resumes it or, while publishers are held, by itself; somebody may also confirm it.
 */
export async function hookStep(migration: Migration, call: HookCall, beside?: Beside): Promise<void> {
  await untilDone(migration, hooksAt(migration.plan, call.event), call, beside);
}

/** Of hooks that were told to hold or to stop those that have not gone on since: one that failed in a cancel. */
export async function resumeHeldHooks(migration: Migration, reason: string): Promise<void> {
  const { plan, state } = migration;
  const event = 'resume-on-kafka';
  const held = hooksAt(plan, event).filter(({ name }) => state.hooksToResume?.includes(name));
  await untilDone(migration, held, { event, leg: 'kafka', reason });
}

async function untilDone(migration: Migration, hooks: readonly Hook[], call: HookCall, beside?: Beside): Promise<void> {
  let left = hooks;
  while (left.length > 0) {
    const step = stepOf(call.event);
    const failed = failedOf(await migration.waitingFor(step, () => callAll(migration, left, call, beside)));
    if (failed.length === 0) return;
    const confirmed = (): boolean => failedOf(failed).length === 0;
    await migration.block(step, failed.map(inWords).join('; '), TODO, confirmed);
    const names = failedOf(failed).map(({ hook }) => hook);
    left = left.filter(({ name }) => names.includes(name));
  }
}

const TODO =
  'Mend what the hook says; or do by hand what it stands for, and confirm that by the update confirmHook {"name", "event", "by", "ok": true}.';

function stepOf(event: HookEvent): string {
  return `hooks at ${event}`;
}

async function callAll(
  migration: Migration,
  hooks: readonly Hook[],
  call: HookCall,
  beside?: Beside,
): Promise<HookRecord[]> {
  if (hooks.length === 0) return [];
  const records: HookRecord[] = [];
  const calls = { running: true };
  const callThem = async (): Promise<void> => {
    try {
      records.push(...(await together(hooks.map((hook) => () => callOne(migration, hook, call)))));
    } finally {
      calls.running = false;
    }
  };
  const workBeside = async (): Promise<void> => {
    while (beside !== undefined && calls.running) await beside(() => !calls.running);
  };
  await together([callThem, workBeside]);
  return records;
}

/** @returns the record of the call, which is no longer waiting. Rejects only when it is cancelled. */
async function callOne(migration: Migration, hook: Hook, call: HookCall): Promise<HookRecord> {
  const { plan, state } = migration;
  const { event } = call;
  const hurried = call.hurried === true || IN_WINDOW.includes(event);
  const timeoutMs = hurried ? Math.min(hook.timeout, plan.cutover.window) : hook.timeout;
  const until = Date.now() + timeoutMs;
  const record: HookRecord = {
    ...{ hook: hook.name, kind: hook.kind, event, state: 'waiting', since: now() },
    until: new Date(until).toISOString(),
  };
  state.hooks = [...(state.hooks ?? []).slice(1 - KEPT), record];
  const { hooksToResume = [] } = state;
  // From the first try on: whatever comes of it, its receiver may have acted.
  if (IN_WINDOW.includes(event)) state.hooksToResume = [...new Set([...hooksToResume, hook.name])];
  migration.refreshDetails();
  const waits = (): boolean => record.state === 'waiting';
  try {
    if (hook.kind === 'webhook') {
      const answer = await request(migration, hook, call, timeoutMs, record);
      if (answer !== undefined && waits()) {
        record.answer = `HTTP ${answer.status}`;
        if (!answer.accepted) settle(migration, record, 'done', 'its receiver');
      }
    }
    if (waits()) {
      const summary = `${nameOf(record)}: wait for the confirmHook update`;
      await condition(() => !waits(), Math.max(1, until - Date.now()), { summary });
    }
    if (waits()) {
      const after = record.answer === undefined ? '' : ` after its receiver accepted it`;
      record.answer = `not confirmed within ${timeoutMs / 1_000} s${after}`;
      settle(migration, record, 'timed-out');
    }
  } catch (error) {
    if (isCancellation(error)) {
      if (waits()) settle(migration, record, 'cancelled');
      throw error;
    }
    if (!(error instanceof ActivityFailure)) throw error;
    // Somebody may have confirmed it in the same moment.
    if (waits()) {
      record.answer = causeOf(error);
      settle(migration, record, timedOut(error) ? 'timed-out' : 'failed');
    }
  }
  return record;
}

/** Calls a webhook until it answers, or somebody confirms it first: undefined then. */
async function request(
  migration: Migration,
  hook: Hook,
  { event, leg, offsets, moves, reason }: HookCall,
  timeoutMs: number,
  record: HookRecord,
): Promise<HookAnswer | undefined> {
  const { state } = migration;
  const ofHook = moves?.filter(({ group }) => hook.groups.length === 0 || hook.groups.includes(group));
  const body: CallHookRequest = {
    ...{ hook: hook.name, migration: migration.name, event, epoch: state.epoch, attempt: state.cutover.attempts },
    groups: hook.groups,
    ...(leg === undefined ? {} : { leg }),
    ...(offsets === undefined ? {} : { offsets }),
    ...(ofHook === undefined ? {} : { moves: ofHook }),
    ...{ reason, deadline: record.until, timeoutMs },
  };
  const options = { summary: nameOf(record), scheduleToCloseTimeout: timeoutMs + MARGIN_MS };
  return await migration.watchUntil(
    () => callHook.executeWithOptions(options, [body]),
    () => record.state !== 'waiting',
  );
}

function timedOut(error: ActivityFailure): boolean {
  const { cause } = error;
  if (cause instanceof TimeoutFailure) return true;
  return cause instanceof ApplicationFailure && cause.type === 'HookTimedOut';
}

function settle(migration: Migration, record: HookRecord, to: Exclude<HookRecord['state'], 'waiting'>, by?: string) {
  record.state = to;
  if (by !== undefined) record.by = by;
  const { state, plan } = migration;
  const resumed = to === 'done' && record.event.startsWith('resume-');
  if (resumed && state.hooksToResume !== undefined) {
    state.hooksToResume = state.hooksToResume.filter((name) => name !== record.hook);
  }
  const groups = plan.hooks.find(({ name }) => name === record.hook)?.groups ?? [];
  const standsFor = groups.length === 0 ? '' : ` (${groups.join(', ')})`;
  migration.note(
    `${nameOf(record)}${standsFor}: ${to}${by === undefined ? '' : ` by ${by}`}${record.answer === undefined ? '' : `: ${record.answer}`}`,
  );
}

function failedOf(records: readonly HookRecord[]): HookRecord[] {
  return records.filter(({ state }) => state !== 'done');
}

function nameOf({ hook, event }: Pick<HookRecord, 'hook' | 'event'>): string {
  return `hook ${hook} at ${event}`;
}

function inWords(record: HookRecord): string {
  return `${nameOf(record)}: ${record.answer ?? record.state}`;
}

/** Why a confirmation is refused; undefined when it is not. */
export function confirmRefusal(state: MigrationState, input: unknown): string | undefined {
  if (typeof input !== 'object' || input === null) return 'it takes {"name", "event", "by", "ok"}.';
  const given = input as Record<string, unknown>;
  const problems = textProblems(given, given.reason === undefined ? ['by'] : ['by', 'reason']);
  if (typeof given.ok !== 'boolean') problems.push('ok must be true or false');
  const open = confirmable(state);
  const meant = open.find(({ hook, event }) => hook === given.name && event === given.event);
  if (meant === undefined) {
    const list = open.map(({ hook, event }) => `{"name": "${hook}", "event": "${event}"}`).join(', ');
    problems.push(`no such hook waits; ${list === '' ? 'none does' : `those that wait: ${list}`}`);
  } else if (meant.state !== 'waiting' && given.ok === false) problems.push('that call has failed already');
  return problems.length === 0 ? undefined : `${problems.join('; ')}.`;
}

/** @returns what the one who confirms is told. */
export function confirmHook(migration: Migration, input: ConfirmHookInput): string {
  const { name, event, by, reason, ok } = input;
  migration.asked('confirmHook', input);
  const record = confirmable(migration.state).find((one) => one.hook === name && one.event === event);
  // Two updates that came together: the validator saw the first one's hook.
  if (record === undefined) return 'it waits no longer';
  if (reason !== undefined) record.answer = reason;
  else if (!ok) record.answer = `refused by ${by}`;
  settle(migration, record, ok ? 'done' : 'failed', by);
  return `taken: ${nameOf(record)} ${record.state}`;
}

/** Calls that wait, and those that failed in a step that is blocked for them. */
function confirmable({ hooks = [], blocked }: MigrationState): HookRecord[] {
  const latest = hooks.filter(
    (one, index) => !hooks.slice(index + 1).some(({ hook, event }) => hook === one.hook && event === one.event),
  );
  return latest.filter(
    ({ state, event }) =>
      state === 'waiting' || (blocked?.step === stepOf(event) && (state === 'failed' || state === 'timed-out')),
  );
}
