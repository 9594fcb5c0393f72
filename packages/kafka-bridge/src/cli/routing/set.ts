import { userInfo } from 'node:os';
import { type Command } from 'commander';
import { asError } from '../../async/bounded.js';
import { EpochSupersededError } from '../../routing/routing-errors.js';
import { mirroredAfter, type RoutingState } from '../../routing/routing-state.js';
import type { RoutingWriter } from '../../routing/routing-writer.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { failureOf } from '../failures.js';
import { Inputs } from '../inputs.js';
import { LiveText } from '../live-text.js';
import { textTable } from '../text-table.js';
import { reachKafka } from '../reach-kafka.js';
import { plural } from '../words.js';
import { awaitFleet, type FleetAnswer } from './await-fleet.js';
import { consequencesOf, workflowNote, type Consequences } from './consequences.js';
import { editState, type RoutingEdit } from './edit.js';
import { listenToFleet } from './fleet.js';
import { standingStates, stateOf, withRoster, withRouting } from './open-routing.js';

interface SetOptions {
  backToKafka?: boolean;
  primary?: string;
  ratio?: string;
  live?: string;
  shadow?: string;
  fence?: string | false;
  drain?: string | false;
  mirror?: boolean;
  confirmFinal?: string;
  reason?: string;
  by?: string;
  expectEpoch?: string;
  wait?: string;
  yes?: boolean;
  dryRun?: boolean;
}

interface SetRequest {
  migration: string;
  edit: RoutingEdit;
  by: string;
  reason: string;
  expectEpoch: number | undefined;
  waitS: number | undefined;
  yes: boolean;
  dryRun: boolean;
  final: boolean;
  output: 'table' | 'json';
}

/** Beyond the lease, for members to report. */
const WAIT_MARGIN_MS = 5_000;
const MAX_WAIT_S = 3_600;
const LEGS = ['kafka', 'owlmq'] as const;

/** What `routing set` does. */
export async function set(command: Command, migration: string, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const connection = readKafka(command, inputs);
  const request = readRequest(command, migration, inputs);
  if (!request.yes && !request.dryRun && io.ask === undefined) {
    inputs.add('there is no terminal to confirm on: give --yes, or --dry-run to see what would change');
  }
  inputs.settle();
  if (connection === undefined) return EXIT.input;

  await reachKafka(connection, io);
  return await withRouting(connection, async (writer) => {
    const before = stateOf(migration, await standingStates(connection, writer));
    if (request.expectEpoch !== undefined && request.expectEpoch !== before.epoch) {
      throw new CliError(EXIT.refused, `Epoch ${request.expectEpoch} was expected. ${stands(before)}`);
    }
    const after = editState(before, request.edit, request);
    const same = isSameButEnvelope(before, after);
    refuseUnsound(before, after, request);
    return await withRoster(connection, io, async (roster) => {
      // Who has stopped matters for a switch alone; nobody waits for it otherwise.
      const switches = before.primary !== after.primary || before.live !== after.live;
      const members = !switches ? [] : roster === undefined ? undefined : await listenToFleet(roster, migration);
      const consequences = consequencesOf(before, after, members);
      const said = request.output === 'json' ? io.err : io.out;
      if (same) said(`Epoch ${before.epoch} says all that already (${before.reason}): nothing is written.\n`);
      else said(`${describe(after, consequences).join('\n')}\n`);
      let written = false;
      if (!same && !request.dryRun) {
        await confirm(request, io);
        await write(writer, before, after);
        written = true;
        said(`\nEpoch ${after.epoch} is written and stands.\n`);
      } else if (request.dryRun) {
        said('Dry run: nothing was written.\n');
      }
      const answer =
        roster === undefined || request.dryRun
          ? undefined
          : await waitForMembers(same ? before : after, request, io, (state, options) =>
              awaitFleet(roster, state, options),
            );
      if (answer !== undefined) said(`${answerLines(answer).join('\n')}\n`);
      if (request.output === 'json') {
        io.out(
          `${JSON.stringify({ migration, written, before, after: same ? before : after, ...consequences, members: answer ?? null }, undefined, 2)}\n`,
        );
      }
      return answer !== undefined && answer.behind.length > 0 ? EXIT.differences : EXIT.ok;
    });
  });
}

function readRequest(command: Command, migration: string, inputs: Inputs): SetRequest {
  const given = command.opts<SetOptions>();
  const output = readOutput(command, inputs);
  const edit: RoutingEdit = {
    primary: inputs.choice('--primary', given.primary, LEGS),
    live: inputs.choice('--live', given.live, LEGS),
    ratio: inputs.number('--ratio', given.ratio, { min: 0, max: 1 }),
    shadow: inputs.choice('--shadow', given.shadow, ['off', 'observe', 'compare', 'noise']),
    fence: given.fence,
    drain: given.drain === false ? false : inputs.choice('--drain', given.drain, ['stop'] as const),
    mirror: given.mirror,
  };
  if (given.fence === '') inputs.add('--fence needs a reason: publishers and people see it');
  const named = Object.entries(edit).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (given.backToKafka === true) {
    const others = named.filter((name) => name !== 'ratio');
    if (others.length > 0) {
      inputs.add(`--back-to-kafka sets everything: it goes with --ratio alone, not with ${others.join(', ')}`);
    }
    Object.assign(edit, { primary: 'kafka', live: 'kafka', shadow: 'off', fence: false, drain: false });
    edit.ratio ??= 0;
  } else if (named.length === 0) {
    inputs.add('nothing to change was named: give --back-to-kafka, --primary, --live, --ratio, --shadow, --fence …');
  }
  const reason = given.reason?.trim() ?? '';
  if (reason === '') inputs.add('--reason is needed: say why, for whoever reads the state later');
  const final = given.confirmFinal === migration;
  if (given.confirmFinal !== undefined && !final) {
    inputs.add(`--confirm-final must repeat the migration's name, ${migration}`);
  }
  return {
    migration,
    edit,
    by: given.by ?? userName(),
    reason,
    expectEpoch: inputs.number('--expect-epoch', given.expectEpoch, {
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      whole: true,
    }),
    waitS: inputs.number('--wait', given.wait, { min: 0, max: MAX_WAIT_S }),
    yes: given.yes === true,
    dryRun: given.dryRun === true,
    final,
    output,
  };
}

/** @throws {CliError} for a state that no confirmation makes sound. */
function refuseUnsound(before: RoutingState, after: RoutingState, { final, migration }: SetRequest): void {
  const noiseBegins = after.shadow === 'noise' && before.shadow !== 'noise';
  if (noiseBegins || (after.shadow === 'compare' && after.shadowFrom === undefined)) {
    throw new CliError(
      EXIT.refused,
      'Shadows compare from offsets that the workflow takes once live consumers report: by hand, set off or observe.',
    );
  }
  if (after.primary === 'kafka' && mirroredAfter(undefined, before) !== undefined) {
    throw new CliError(
      EXIT.refused,
      `A rollback of the workflow stands at its drain: publishers would take what lies before it for copied to Kafka, which is not known. Write --drain stop first: kafka-bridge routing set ${migration} --drain stop --reason '…'`,
    );
  }
  if (final) return;
  if (before.mirror !== after.mirror) {
    throw new CliError(
      EXIT.refused,
      `Whether the other leg is written is final: there is no way back to a leg that lacks messages. If that is meant, add --confirm-final ${migration}.`,
    );
  }
  if (!before.mirror) {
    throw new CliError(
      EXIT.refused,
      `The standing state is final: the other leg is not written since ${before.writtenAt}, and members that do not reach Kafka would not see a new one. If you must all the same, add --confirm-final ${migration}.`,
    );
  }
}

function isSameButEnvelope(before: RoutingState, after: RoutingState): boolean {
  const content = ({ epoch: _, writtenAt: __, reason: ___, ...rest }: RoutingState): string =>
    JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)));
  return content(before) === content(after);
}

function describe(after: RoutingState, { changes, effects, warnings, safeWay }: Consequences): string[] {
  const table = textTable(
    ['', 'NOW', 'THEN'],
    changes.map((change) => [change.what, change.before, change.after]),
  );
  const list = (title: string, items: readonly string[]): string[] =>
    items.length === 0 ? [] : ['', title, ...items.map((item) => `  - ${item}`)];
  const steps = safeWay.map((step, index) => `  ${index + 1}. ${step}`);
  return [
    `Migration ${after.migration}`,
    ...table,
    ...list('What happens:', effects),
    ...list('WARNING, what is at risk:', warnings),
    ...(steps.length === 0 ? [] : ['', 'The way without these risks:', ...steps]),
    '',
    ...workflowNote(after),
  ];
}

/** @throws {CliError} unless a person typed the migration's name. */
async function confirm({ yes, migration }: SetRequest, io: CliIo): Promise<void> {
  if (yes || io.ask === undefined) return;
  const answer = await io.ask(`\nType the migration's name to write this, anything else to leave it: `);
  if (answer.trim() !== migration) throw new CliError(EXIT.refused, 'Not confirmed: nothing was written.');
}

async function write(writer: RoutingWriter, before: RoutingState, after: RoutingState): Promise<void> {
  try {
    await writer.write(after, { over: before.epoch });
  } catch (error) {
    if (error instanceof EpochSupersededError) {
      throw new CliError(
        EXIT.refused,
        `Superseded: somebody wrote meanwhile, and yours was not written. ${stands(error.found)}`,
        { cause: error },
      );
    }
    const { exitCode, message } = failureOf(error);
    throw new CliError(
      exitCode,
      `${message}\nWhether epoch ${after.epoch} was written is not known: see with kafka-bridge routing show ${after.migration}.`,
      { cause: asError(error) },
    );
  }
}

function stands(state: RoutingState): string {
  return `Epoch ${state.epoch} stands (${state.reason}, written ${state.writtenAt}). Look at it with kafka-bridge routing show ${state.migration}, then decide again.`;
}

async function waitForMembers(
  state: RoutingState,
  { waitS }: SetRequest,
  io: CliIo,
  wait: (
    state: RoutingState,
    options: { waitMs: number; signal: AbortSignal; onProgress: (answer: FleetAnswer) => void },
  ) => Promise<FleetAnswer>,
): Promise<FleetAnswer> {
  const ended = new AbortController();
  const release = io.onInterrupt(() => {
    ended.abort();
  });
  const screen = new LiveText(io);
  try {
    return await wait(state, {
      waitMs: waitS === undefined ? state.leaseMs + WAIT_MARGIN_MS : waitS * 1_000,
      signal: ended.signal,
      onProgress: ({ following, behind }) => {
        screen.show([
          `${plural(following.length, 'member')} follow, waiting for ${behind.length}`,
          ...behind.slice(0, 10),
        ]);
      },
    });
  } finally {
    screen.clear();
    release();
  }
}

function answerLines({ following, behind, silent }: FleetAnswer): string[] {
  if (following.length + behind.length + silent.length === 0) {
    return ['No member reports to this migration: nobody obeys it now. Those that start will.'];
  }
  return [
    behind.length === 0
      ? following.length === 0
        ? 'No living member reports to this migration.'
        : `All living members follow: ${plural(following.length, 'member')}.`
      : `${plural(following.length, 'member')} of ${following.length + behind.length} follow. NOT yet:`,
    ...behind.map((line) => `  - ${line}`),
    ...(silent.length === 0
      ? []
      : [`Silent for longer than their lease, so that they hold by themselves: ${silent.join(', ')}.`]),
  ];
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A user id without a name, as in containers.
    return 'unknown';
  }
}
