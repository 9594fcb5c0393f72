// The worker as it is, whose steps are watched from outside: it writes down each boundary that it passes, and dies, or
// waits for the harness, where it was ordered to.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Context } from '@temporalio/activity';
import { defaultPayloadConverter } from '@temporalio/common';
import type { ActivityInterceptors, InjectedSinks } from '@temporalio/worker';
import { EventLog } from '../demo/event-log.js';
import { runWorker } from '../src/run-worker.js';
import { siteName, workerSettingsSchema, type Boundary, type Order, type Passage } from './passages.js';
import { SUMMARY_HEADER } from './summary-header.js';
import type { TaskSinks } from './workflow-interceptors.js';

const LOOK_MS = 10;
/** A harness that never answers must not hold a step for ever. */
const LONGEST_WAIT_MS = 30_000;

const settings = workerSettingsSchema.parse(process.env);
const log = new EventLog<Passage>(settings.BOUNDARIES_LOG);
const orders = new Set(settings.BOUNDARIES_ORDERS);

/** How often each boundary was passed; a call that is tried again is the same call. */
const passed = new Map<string, number>();
for (const { nth, ...place } of settings.BOUNDARIES_PASSED) passed.set(nameOf(place), nth);

function nameOf({ kind, site, moment }: Omit<Boundary, 'nth'>): string {
  return JSON.stringify([kind, site, moment]);
}

function orderAt(boundary: Boundary, type?: string): Order | undefined {
  for (const order of orders) {
    const first = boundary.moment === 'before' && order.firstCallOf !== undefined && order.firstCallOf === type;
    if (!first && !isDeepStrictEqual(order.boundary, boundary)) continue;
    orders.delete(order);
    log.write({ event: 'reached', order: order.id, act: order.act });
    return order;
  }
  return undefined;
}

async function pass(place: Omit<Boundary, 'nth'>, activity?: { context: Context; decidedAt: number }): Promise<void> {
  const name = nameOf(place);
  const nth = (passed.get(name) ?? 0) + ((activity?.context.info.attempt ?? 1) === 1 ? 1 : 0);
  passed.set(name, nth);
  const boundary = { ...place, nth: Math.max(1, nth) };
  const type = activity?.context.info.activityType;
  log.write({
    event: 'passed',
    boundary,
    ...(type === undefined ? {} : { type }),
    decidedAt: activity?.decidedAt ?? Date.now(),
  });
  for (let order = orderAt(boundary, type); order !== undefined; order = orderAt(boundary, type)) {
    if (order.act === 'die') process.kill(process.pid, 'SIGKILL');
    else if (activity !== undefined) await untilAnswered(order, activity.context);
  }
}

/** Goes on once the harness has answered, or the workflow has cancelled the activity. */
async function untilAnswered({ id, act }: Order, context: Context): Promise<void> {
  const answer = join(settings.BOUNDARIES_ANSWERS, id);
  const deadline = performance.now() + LONGEST_WAIT_MS;
  while (performance.now() < deadline && !context.cancellationSignal.aborted) {
    if (act === 'ask' && existsSync(answer)) return;
    // Also how a cancellation arrives.
    context.heartbeat(context.info.heartbeatDetails);
    await sleep(LOOK_MS);
  }
}

const watchActivity = (context: Context): ActivityInterceptors => ({
  inbound: {
    execute: async (input, next) => {
      const header = input.headers[SUMMARY_HEADER];
      const summary = header === undefined ? undefined : defaultPayloadConverter.fromPayload<string>(header);
      const site = siteName(context.info.activityType, summary);
      const activity = { context, decidedAt: context.info.scheduledTimestampMs };
      await pass({ kind: 'activity', site, moment: 'before' }, activity);
      const result: unknown = await next(input);
      await pass({ kind: 'activity', site, moment: 'after' }, activity);
      return result;
    },
  },
});

const sinks: InjectedSinks<TaskSinks> = {
  boundaries: {
    decided: {
      fn: async (_, decisions) => {
        const names = decisions.map((decision) => {
          if (!decision.startsWith('[')) return decision;
          const [type, summary] = JSON.parse(decision) as [string, string];
          return siteName(type, summary);
        });
        // The task is reported when this has returned.
        await pass({ kind: 'workflow task', site: [...new Set(names)].join(' + '), moment: 'after' });
      },
      callDuringReplay: false,
    },
  },
};

await runWorker({
  workflowBundle: { codePath: settings.BOUNDARIES_BUNDLE },
  interceptors: { activity: [watchActivity] },
  sinks,
  // A worker that died gets no workflow task for longer.
  stickyQueueScheduleToStartTimeout: '1 second',
  onActivities: (names) => {
    log.write({ event: 'activities', names: [...names] });
  },
});
