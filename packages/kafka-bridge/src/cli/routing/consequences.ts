import { mirroredAfter, type RoutingState } from '../../routing/routing-state.js';
import { duration, legName, share } from '../words.js';
import { lag, memberName, type FleetMember } from './fleet.js';
import { stateWords } from './state-words.js';

/** What a change of the routing does, in words. */
export interface Consequences {
  /** What is different: subject, before, after. */
  changes: { what: string; before: string; after: string }[];
  /** What happens. */
  effects: string[];
  /** What is at risk. */
  warnings: string[];
  /** How the same is reached without the risk; empty where there is none. */
  safeWay: string[];
}

/** Compares a state with the one that is to follow it. `members`: undefined when they are not known. */
export function consequencesOf(
  before: RoutingState,
  after: RoutingState,
  members: readonly FleetMember[] | undefined,
): Consequences {
  const found: Consequences = { changes: changesOf(before, after), effects: [], warnings: [], safeWay: [] };
  judgeFence(before, after, found);
  judgeRatio(before, after, found);
  const switches = before.primary !== after.primary || before.live !== after.live;
  if (switches) judgeSwitch(before, after, members, found);
  judgeConsumers(before, after, found);
  if (before.mirror !== after.mirror) judgeMirror(before, after, found);
  return found;
}

function changesOf(before: RoutingState, after: RoutingState): Consequences['changes'] {
  const subjects: Record<keyof ReturnType<typeof stateWords>, string> = {
    publish: 'publish()',
    mirror: 'other leg',
    fence: 'fence',
    consumers: 'consumers',
    drain: 'drain',
    shadows: 'shadows',
  };
  const [was, is] = [stateWords(before), stateWords(after)];
  const keys = Object.keys(subjects) as (keyof typeof subjects)[];
  return [
    { what: 'epoch', before: String(before.epoch), after: String(after.epoch) },
    ...keys
      .filter((key) => was[key] !== is[key])
      .map((key) => ({ what: subjects[key], before: was[key], after: is[key] })),
    { what: 'reason', before: before.reason, after: after.reason },
  ];
}

function judgeFence(before: RoutingState, after: RoutingState, { effects }: Consequences): void {
  if (before.fence === undefined && after.fence !== undefined) {
    effects.push(
      'Publishers hold: publish() calls wait, and fail once they were held for holdTimeoutMs (60 s by default). Nobody but you lifts this fence while the workflow is away: routing set … --no-fence.',
    );
  }
  if (before.fence !== undefined && after.fence === undefined) {
    effects.push('Held publish() calls go out at once, in order.');
  }
}

function judgeRatio(before: RoutingState, after: RoutingState, { effects }: Consequences): void {
  if (before.ratio === after.ratio || after.primary !== 'kafka') return;
  if (after.ratio < before.ratio) {
    effects.push(
      `Copies to OwlMQ fall to ${share(after.ratio)} of the keys: OwlMQ lacks messages from now on, and its coverage begins anew when the ratio is back at 100%. Shadows that compare see gaps.`,
    );
  } else {
    effects.push(
      `Copies to OwlMQ rise to ${share(after.ratio)} of the keys, within a lease of ${duration(after.leaseMs)}.`,
    );
  }
}

function judgeSwitch(
  before: RoutingState,
  after: RoutingState,
  members: readonly FleetMember[] | undefined,
  found: Consequences,
): void {
  const { effects, warnings, safeWay } = found;
  const lease = duration(Math.max(before.leaseMs, after.leaseMs));
  const publishersHold = before.fence !== undefined && before.primary !== after.primary;
  const consumersStopped = before.drain !== undefined;
  if (before.primary !== after.primary) {
    effects.push(`publish() resolves when ${legName(after.primary)} has acknowledged.`);
    if (before.fence === undefined) {
      warnings.push(
        `No fence stands: publishers change over one by one, within a lease of ${lease}. Meanwhile some write to ${legName(before.primary)} first and others to ${legName(after.primary)}, so that messages of one key can change their order.`,
      );
    }
    warnings.push(
      after.primary === 'owlmq'
        ? 'OwlMQ holds only what was copied: messages that were published at a ratio below 100%, came from producers without the library, or were dropped by a publisher, are not there unless an audit has proven it.'
        : 'Kafka holds what was mirrored: messages that OwlMQ alone has are not seen on Kafka until an audit both ways has written them there.',
    );
  }
  if (before.live !== after.live) {
    effects.push(`Consumers stop on ${legName(before.live)} and run apply on ${legName(after.live)}.`);
    if (!consumersStopped) {
      warnings.push(
        `No drain stands: consumers change over one by one, within a lease of ${lease}. Meanwhile members of one group apply from both legs, each message possibly on both.`,
      );
    }
    warnings.push(
      after.live === 'kafka'
        ? 'Group positions are not moved by this: on Kafka groups go on where they last committed there (at a cutover: its fence). Everything since is delivered again, as far as Kafka has it.'
        : 'Group positions are not moved by this: a group without a position on OwlMQ begins at the start of each topic there. Everything copied is delivered again, and what was never copied is skipped.',
    );
  }
  const still = notStopped(before, after, members);
  if ((publishersHold || consumersStopped) && still.length > 0) {
    warnings.push(`Not all have stopped yet: ${still.join('; ')}.`);
  }
  if (members === undefined)
    warnings.push('The members are not known, so it cannot be told whether they have stopped.');
  if (after.primary !== after.live) {
    warnings.push(
      `Consumers on ${legName(after.live)} get messages through the copies of ${legName(after.primary)} alone: later, and not those that are missing.`,
    );
  }
  safeWay.push(...safeSwitch(before, after));
}

function notStopped(before: RoutingState, after: RoutingState, members: readonly FleetMember[] | undefined): string[] {
  return (members ?? [])
    .filter(({ report, heard }) => heard && report.state !== 'left')
    .filter(({ report }) =>
      report.role === 'publisher' ? before.primary !== after.primary : before.live !== after.live,
    )
    .flatMap(({ report }) => {
      const behind = lag(report, before);
      return behind === undefined ? [] : [`${memberName(report)} ${behind}`];
    });
}

function safeSwitch(before: RoutingState, after: RoutingState): string[] {
  const name = before.migration;
  // From the begin both ways it would copy to OwlMQ what was never meant to be there.
  const from = before.primary === 'owlmq' ? "--direction both --from 'TIME AFTER THE CUTOVER'" : '--from beginning';
  const steps: string[] = [];
  if (before.fence === undefined || before.drain === undefined || mirroredAfter(undefined, before) !== undefined) {
    steps.push(
      `kafka-bridge routing set ${name} --fence 'switch by hand' --drain stop --reason '…'   and wait until all follow`,
    );
  }
  steps.push(
    `kafka-bridge audit --migration ${name} ${from} --repair --grace 1   until nothing is missing on ${legName(after.primary)}`,
  );
  if (before.live !== after.live) {
    steps.push(
      `kafka-bridge migrate-offsets --groups ${before.groups.join(',') || 'GROUPS'}${after.live === 'kafka' ? ' --reverse' : ''}   their positions, while nobody is in them on ${legName(after.live)}`,
    );
  }
  const to = `--primary ${after.primary} --live ${after.live}`;
  steps.push(`kafka-bridge routing set ${name} ${to} --no-fence --no-drain --reason '…'`);
  return steps;
}

function judgeConsumers(before: RoutingState, after: RoutingState, { effects, warnings }: Consequences): void {
  if (before.drain === undefined && after.drain !== undefined) {
    effects.push('Consumers finish the message in hand, commit, and apply nothing more until the drain is lifted.');
  }
  if (before.drain !== undefined && after.drain === undefined) {
    effects.push(`Consumers go on applying, on ${legName(after.live)}.`);
  }
  if (before.shadow !== after.shadow && after.shadow !== 'compare') {
    effects.push(
      before.shadow === 'noise'
        ? 'The noise of handlers is measured no more: the measurement stands still until the workflow begins it anew.'
        : 'Nothing is compared any more: the clock of a shadow soak stands still until the workflow sets shadows going again.',
    );
  }
  if (after.fence === undefined && after.drain !== undefined && before.drain === undefined) {
    warnings.push('Publishers go on while consumers stand still: lag grows.');
  }
}

function judgeMirror(before: RoutingState, after: RoutingState, { effects, warnings }: Consequences): void {
  const other = legName(after.primary === 'kafka' ? 'owlmq' : 'kafka');
  if (before.mirror) {
    effects.push(
      `${other} is written no more, and members no longer need Kafka to go on: they take this state as the last.`,
    );
    warnings.push(
      `FINAL: from the first message that ${other} lacks there is no way back to it. The workflow cannot take this back.`,
    );
  } else {
    warnings.push(
      `The standing state is final: ${other} lacks every message since ${before.writtenAt}, and members that do not reach Kafka will not see this state but go on by the old one.`,
    );
  }
}

/** What happens when the workflow comes back to a state that it did not write. */
export function workflowNote({ migration, epoch }: RoutingState): string[] {
  return [
    `The workflow does not know of epoch ${epoch}. When it is back it goes on as if its own state stood, until it next changes`,
    'the routing. That step then blocks with "epoch … was not written" until it is sent resume; it then writes its own state',
    'above this one, which undoes it. While it holds publishers, in a cutover or a rollback, it does so by itself within',
    'seconds. So stop the workers first, and before they run again decide:',
    '  - the workflow is to go on by its plan: let it, and send resume when it blocks;',
    '  - it is to go back, and its cutover had not begun: send rollback, then resume when it blocks;',
    `  - anything else: temporal workflow terminate --workflow-id ${migration}. The fleet stays on this state. A new run under`,
    '    this name begins only where everything is on Kafka again, as --back-to-kafka leaves it.',
  ];
}
