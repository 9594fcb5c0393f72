import { embeddedGroups, words } from '@owlmq/kafka-bridge/playbook';
import { joinReports } from '../comparison-parts.js';
import { consumersToBe } from '../fleet-steps.js';
import type { Migration } from '../migration.js';
import { NOISE_STEP } from '../migration-state.js';
import { newNoise, noiseFinding, noiseShortfalls, takeNoise } from '../noise.js';
import { counted } from '../ramp-gates.js';
import { compareSlice, sliceMs, startShadows } from '../shadow-steps.js';
import { quietMs } from '../soak-clock.js';
import { noiseTarget } from '../status.js';

/** Whoever waits for it is soon told what holds it up. */
const LONGEST_SLICE_MS = 300_000;

/**
 * Before anything is copied, where it is asked for: every group handles its messages on Kafka twice, so that what its
 * handlers do differently by themselves is known before it could be taken for what the other leg does.
 */
export async function measureNoise(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  if (plan.noise.duration === 0 || migration.isPast('noise')) return;
  migration.enter('noise');
  for (;;) {
    await measure(migration);
    const found = findings(migration);
    if (found.length === 0 || goesOn(migration)) break;
    const todos = found.map(({ todo }) => todo).join(' ');
    await migration.block(
      NOISE_STEP,
      found.map(({ cause }) => cause).join('; '),
      `To go on as it is, send the approve signal. To measure again: ${todos}`,
      () => goesOn(migration),
    );
    if (goesOn(migration)) break;
  }
  delete state.noise?.comparisons;
  migration.note(outcome(migration));
}

async function measure(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  if (state.routing.shadowFrom === undefined) await begin(migration);
  while (noiseShortfalls(state.noise, noiseTarget(plan)).length > 0 && !goesOn(migration)) {
    await migration.whilePaused();
    await slice(migration);
    await migration.continueAsNewWhenLong();
  }
  await migration.route({ shadow: 'off', shadowFrom: undefined }, 'noise is measured: shadow consumers stop');
  await consumersToBe(migration, 'live-kafka', 'shadows to stop', 'wait until no shadow runs');
}

async function begin(migration: Migration): Promise<void> {
  const { state } = migration;
  const start = await startShadows(migration, 'noise', 'noise', 'Kafka, beside the live ones');
  state.noise = newNoise((state.noise?.measurements ?? 0) + 1, start);
}

/** Compares for a slice of time. Ended early by a pause, or by whoever goes on as it is. */
async function slice(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const { noise } = state;
  if (noise === undefined) return;
  const { duration, lateness } = plan.noise;
  const limits = { quietMs: quietMs(noiseTarget(plan)), watchedFrom: noise.measuredUpTo };
  const request = {
    label: `noise ${words(noise.measuredMs)} of ${words(duration)} measured`,
    earlier: noise.comparisons ?? [],
    latenessMs: lateness,
    sliceMs: sliceMs(duration, LONGEST_SLICE_MS),
    start: noise.start,
    endAtDiscrepancy: false,
    ...limits,
    countFields: true,
  };
  const step = { name: 'the measurement of noise', todo: 'Check that the worker reaches Kafka.' };
  const reports = await compareSlice(migration, step, request, () => goesOn(migration));
  if (reports === undefined) return;
  const joined = joinReports(reports, {
    groups: embeddedGroups(plan),
    ...limits,
    watchedMs: noise.measuredMs,
    now: Date.now(),
  });
  const comparisons = reports.map(({ checkpoint }) => checkpoint);
  state.noise = { ...takeNoise(noise, joined, embeddedGroups(plan)), comparisons };
  migration.refreshDetails();
  if (joined.lost === undefined) return;
  migration.note(`the measurement of noise begins anew: ${joined.lost}`);
  await begin(migration);
}

/** Whether a person has said that the ramp is to begin, whatever was measured. */
function goesOn({ state }: Migration): boolean {
  return state.approved.noise === true;
}

function findings({ state }: Migration): { cause: string; todo: string }[] {
  return Object.entries(state.noise?.groups ?? {}).flatMap(([name, noise]) => noiseFinding(name, noise) ?? []);
}

function outcome(migration: Migration): string {
  const groups = Object.entries(migration.state.noise?.groups ?? {}).map(([name, { comparisons, ignored }]) => {
    const but = ignored === 0 ? '' : `, ${counted(ignored)} of them equal but for what is ignored`;
    return `group ${name}: ${counted(comparisons)} comparisons${but}`;
  });
  const compared = groups.length === 0 ? 'nothing was compared' : groups.join('; ');
  const found = findings(migration);
  if (found.length > 0) return `goes on with noise: ${found.map(({ cause }) => cause).join('; ')}`;
  const whole = noiseShortfalls(migration.state.noise, noiseTarget(migration.plan)).length === 0;
  return whole
    ? `handlers are deterministic: ${compared}`
    : `goes on without a whole measurement of noise: ${compared}`;
}
