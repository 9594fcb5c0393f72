import type { Command } from 'commander';
import { pause } from '../../async/bounded.js';
import type { RoutingState } from '../../routing/routing-state.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { LiveText } from '../live-text.js';
import { reachKafka } from '../reach-kafka.js';
import { textTable } from '../text-table.js';
import { ago, share } from '../words.js';
import { listenToFleet, memberLines, standsOut, type FleetMember } from './fleet.js';
import { standingStates, stateOf, withRoster, withRouting } from './open-routing.js';
import { stateLines } from './state-words.js';

interface ShowOptions {
  watch?: string;
}

/** What `routing show` does. */
export async function show(command: Command, migration: string | undefined, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const output = readOutput(command, inputs);
  const connection = readKafka(command, inputs);
  const { watch } = command.opts<ShowOptions>();
  const everyS = inputs.number('--watch', watch, { min: 1, max: 3_600 });
  if (everyS !== undefined && output === 'json') inputs.add('--watch and --output json exclude each other');
  inputs.settle();
  if (connection === undefined) return EXIT.input;

  const ended = new AbortController();
  const { signal } = ended;
  const release = io.onInterrupt(() => {
    ended.abort();
  });
  const screen = new LiveText(io);
  try {
    if (!(await reachKafka(connection, io, signal))) return EXIT.interrupted;
    return await withRouting(connection, async (writer) => {
      const print = (lines: string[]): void => {
        if (everyS !== undefined && io.columns !== undefined) screen.show(lines);
        else io.out(`${lines.join('\n')}\n`);
      };
      const again = async (): Promise<boolean> => {
        if (everyS === undefined || signal.aborted) return false;
        await pause(everyS * 1_000, signal);
        return !signal.aborted;
      };
      if (migration === undefined) {
        do {
          const states = await standingStates(connection, writer);
          print(output === 'json' ? [JSON.stringify(states, undefined, 2)] : listLines(states));
        } while (await again());
        return EXIT.ok;
      }
      stateOf(migration, await standingStates(connection, writer));
      return await withRoster(connection, io, async (roster) => {
        for (;;) {
          const members = roster === undefined ? undefined : await listenToFleet(roster, migration, { signal });
          const state = stateOf(migration, await standingStates(connection, writer));
          const lines = members === undefined ? ['The members are not known.'] : standsOut(state, members);
          print(output === 'json' ? [jsonOf(state, members, lines)] : wholeLines(state, members, lines));
          if (!(await again())) return lines.length === 0 ? EXIT.ok : EXIT.differences;
        }
      });
    });
  } finally {
    release();
  }
}

function listLines(states: readonly RoutingState[]): string[] {
  if (states.length === 0) return ['No migration has a routing state.'];
  const header = ['MIGRATION', 'EPOCH', 'PRIMARY', 'LIVE', 'RATIO', 'FENCE', 'WRITTEN', 'REASON'];
  const rows = states.map((state) => [
    state.migration,
    String(state.epoch),
    state.primary,
    state.live,
    share(state.ratio),
    state.fence?.reason ?? '-',
    `${state.writtenAt} (${ago(state.writtenAt)})`,
    state.reason,
  ]);
  return textTable(header, rows);
}

function wholeLines(
  state: RoutingState,
  members: readonly FleetMember[] | undefined,
  notable: readonly string[],
): string[] {
  return [
    ...stateLines(state),
    '',
    ...(members === undefined ? [] : [...memberLines(members), '']),
    ...(notable.length === 0 ? ['Nothing stands out: all members follow.'] : ['What stands out:']),
    ...notable.map((line) => `  - ${line}`),
  ];
}

function jsonOf(state: RoutingState, members: readonly FleetMember[] | undefined, notable: readonly string[]): string {
  return JSON.stringify(
    {
      state,
      members: members?.map(({ report, heard }) => ({ ...report, heard })) ?? null,
      standsOut: notable,
    },
    undefined,
    2,
  );
}
