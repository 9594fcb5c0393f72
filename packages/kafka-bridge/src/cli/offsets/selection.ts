import type { Command } from 'commander';
import type { Leg } from '../../message/headers.js';
import type { OffsetReset } from '../../offsets/translation.js';
import { readPositions } from '../audit/checkpoint-file.js';
import { CliError } from '../cli-error.js';
import type { Inputs } from '../inputs.js';

/** Which positions are meant, and how they are to be translated. */
export interface Selection {
  /** The leg that positions come from, and the one that they go to. */
  from: Leg;
  to: Leg;
  /** Names, or patterns with * and ?. Empty for all groups. */
  patterns: string[];
  /** Undefined: those that groups have commits on. */
  topics: string[] | undefined;
  reset: OffsetReset | undefined;
  ignoreMetadata: boolean;
  /** Kafka's offsets at the cutover, by topic, for the way back. */
  fences: Readonly<Record<string, readonly number[]>> | undefined;
}

interface SelectionFlags {
  groups?: string;
  allGroups?: string;
  topics?: string;
  reverse?: string;
  fences?: string;
  offsetReset?: string;
  ignoreMetadata?: string;
}

/** Reads them, with the file that they name. `groupsNeeded`: whether groups must be named. */
export async function readSelection(command: Command, inputs: Inputs, groupsNeeded: boolean): Promise<Selection> {
  const given = command.opts<SelectionFlags>();
  const patterns = inputs.list(given.groups);
  const all = inputs.on('--all-groups', given.allGroups);
  const reverse = inputs.on('--reverse', given.reverse);
  if (all && patterns.length > 0) inputs.add('--all-groups and --groups exclude each other');
  if (groupsNeeded && !all && patterns.length === 0)
    inputs.add('--groups or --all-groups is needed: say whose positions');
  const topics = inputs.list(given.topics);
  if (given.fences !== undefined && !reverse) {
    inputs.add('--fences is for the way back: it goes with --reverse alone');
  }
  return {
    from: reverse ? 'owlmq' : 'kafka',
    to: reverse ? 'kafka' : 'owlmq',
    patterns,
    topics: topics.length === 0 ? undefined : topics,
    reset: inputs.choice('--offset-reset', given.offsetReset, ['earliest', 'latest'] as const),
    ignoreMetadata: inputs.on('--ignore-metadata', given.ignoreMetadata),
    fences: given.fences === undefined ? undefined : await fencesIn(given.fences, inputs),
  };
}

async function fencesIn(file: string, inputs: Inputs): Promise<Selection['fences']> {
  try {
    return (await readPositions(file)).kafka;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    inputs.add(`--fences: ${error.message}`);
    return undefined;
  }
}
