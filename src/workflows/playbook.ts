import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  setDefaultSignalHandler,
  setHandler,
  type SignalDefinition,
  upsertMemo,
} from '@temporalio/workflow';
import type { UpdateDefinition } from '@temporalio/common';
import { type MigrationInput, parseMigrationInput, planSteps } from '@owlmq/kafka-bridge/playbook';
import { confirmHook, confirmRefusal } from './hooks.js';
import * as messages from './messages.js';
import { Migration, now } from './migration.js';
import { newMigrationState, type CarriedOver } from './migration-state.js';
import { does } from './patches.js';
import { cutOver } from './phases/cutover.js';
import { decommission } from './phases/decommission.js';
import { dualWrite } from './phases/dual-write.js';
import { keepWarm } from './phases/keep-warm.js';
import { measureNoise } from './phases/noise.js';
import { preflightChecks } from './phases/preflight.js';
import { rollBack } from './phases/roll-back.js';
import { acknowledgeRefusal, revokeRefusal } from './acknowledgements.js';
import { rehearse } from './rehearsal.js';
import { shadowSoak } from './phases/shadow-soak.js';
import { buildStatus, type MigrationStatus } from './status.js';
import { validInput } from './valid-input.js';

/**
 * Moves topics and their consumer groups from Kafka to OwlMQ while producers and consumers keep running.
 *
 * @param input see `MigrationInput`; only `topics` and `groups` are required.
 * @param carried state of the run before, when this one continues it.
 * @returns the last status.
 */
export async function migrateKafkaToOwlmq(input: MigrationInput, carried?: CarriedOver): Promise<MigrationStatus> {
  const migration =
    carried === undefined
      ? new Migration(validInput(parseMigrationInput, input), newMigrationState(now()))
      : // An earlier version's plan lacks what has come since: the defaults fill it in.
        new Migration(validInput(parseMigrationInput, carried.plan), carried.state);
  const refusal = rehearse(migration.plan.rehearsal);
  if (refusal !== undefined) throw ApplicationFailure.nonRetryable(refusal, 'InvalidInput', [refusal]);
  listen(migration);
  // A run that continues another one does not inherit its memo.
  if (does('memo')) upsertMemo({ topics: migration.plan.topics, groups: migration.plan.groups });

  for (;;) {
    const end = await migration.untilRollback(async () => {
      await preflightChecks(migration);
      await measureNoise(migration);
      await dualWrite(migration);
      await shadowSoak(migration);
      await cutOver(migration);
      await keepWarm(migration);
      await decommission(migration);
    });
    if (end === 'completed') break;
    // Cancelled, it cannot go on where it was: it waits until it can go back.
    const wait = CancellationScope.current().consideredCancelled;
    if ((await CancellationScope.nonCancellable(() => rollBack(migration, { wait }))) === 'rolled-back') break;
  }

  await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  if (CancellationScope.current().consideredCancelled)
    throw new CancelledFailure('cancelled, and rolled back to Kafka');
  return buildStatus(migration.plan, migration.state);
}

function refuse(reason: string | undefined): void {
  if (reason !== undefined) throw new Error(`Refused: ${reason}`);
}

type RequestArguments = [messages.RequestInput?];
type RequestUpdate = UpdateDefinition<string, RequestArguments>;

interface RequestHandling {
  signal: SignalDefinition<RequestArguments>;
  update: RequestUpdate;
  act: (input: messages.RequestInput | undefined) => void;
  description: string;
  /** Why the update is refused now. */
  refusal: (input: messages.RequestInput | undefined) => string | undefined;
}

/** Sets all handlers before the first await, so that no early signal or update is refused. */
function listen(migration: Migration): void {
  setHandler(messages.statusQuery, () => buildStatus(migration.plan, migration.state), {
    description: 'Phase, ratio, soak clock, verdicts, blockers and what comes next.',
  });
  setHandler(messages.figuresQuery, () => migration.figures(), {
    description: 'The figures of this migration as the worker tells them to Prometheus.',
  });
  setHandler(messages.planQuery, () => planSteps(migration.plan), {
    description: 'The steps of this migration in order, with the least time each takes.',
  });

  const requests: RequestHandling[] = [
    {
      signal: messages.pauseSignal,
      update: messages.pauseUpdate,
      act: migration.pause.bind(migration),
      description: 'Stops the ramp, the soak clock and the warm period where they are. A cutover under way goes on.',
      refusal: () => migration.pauseRefusal(),
    },
    {
      signal: messages.resumeSignal,
      update: messages.resumeUpdate,
      act: migration.resume.bind(migration),
      description: 'Ends a pause, and tries a blocked step again.',
      refusal: () =>
        migration.state.paused === undefined && migration.state.blocked === undefined
          ? 'the migration is neither paused nor blocked.'
          : undefined,
    },
    {
      signal: messages.approveSignal,
      update: messages.approveUpdate,
      act: migration.approve.bind(migration),
      description:
        'Approves the cutover; once Kafka is kept warm, approves the decommission. Of noise that was measured before the ramp: goes on as it is.',
      refusal: (input) => migration.approveRefusal(input),
    },
    {
      signal: messages.rollbackSignal,
      update: messages.rollbackUpdate,
      act: migration.rollback.bind(migration),
      description:
        'Goes back to Kafka, from any phase before the decommission. Comes before everything else. Refused, with what to repair, where Kafka cannot be returned to; with "force": true where that would only lose messages.',
      refusal: () => migration.rollbackRefusal(),
    },
  ];
  for (const { signal, update, act, description, refusal } of requests) {
    setHandler(signal, act, { description });
    const respond = (input?: messages.RequestInput): string => {
      act(input);
      return `taken; phase ${migration.state.phase}`;
    };
    const validator = (input?: messages.RequestInput): void => {
      refuse(refusal(input));
    };
    setHandler<string, RequestArguments, RequestUpdate>(update, respond, { description, validator });
  }

  const setRatio = (input: { ratio: number; by?: string; reason?: string }): string => {
    const { ratio } = input;
    migration.state.requestedRatio = ratio;
    const { by, reason } = migration.asked('setRatio', input);
    migration.note(`ratio ${ratio} asked by ${by}: ${reason}`);
    return `taken; the ramp goes on from ${ratio}`;
  };
  setHandler(messages.setRatioUpdate, setRatio, {
    description: 'Sets the ratio of the ramp at once, up or down; the ramp goes on from there.',
    validator: ({ ratio }) => {
      if (typeof ratio !== 'number' || !(ratio >= 0 && ratio <= 1)) {
        throw new Error('Refused: ratio must be a number from 0 to 1.');
      }
      if (migration.state.phase !== 'dual-write') {
        throw new Error(`Refused: the ratio can be set during the ramp, not in phase ${migration.state.phase}.`);
      }
    },
  });

  setHandler(messages.extendUpdate, (input) => migration.extend(input), {
    description: 'Keeps Kafka warm for longer, by a duration such as "3 days"; also while the decommission waits.',
    validator: (input) => {
      refuse(migration.extendRefusal(input as unknown));
    },
  });
  setHandler<string, RequestArguments, RequestUpdate>(messages.endEarlyUpdate, (input) => migration.endEarly(input), {
    description: 'Ends the warm period now. The decommission still asks for approval where it does, and proves parity.',
    validator: () => {
      refuse(migration.endEarlyRefusal());
    },
  });

  setHandler(messages.acknowledgeUpdate, (input) => migration.acknowledge(input), {
    description: 'Excuses a known pattern of discrepancies, with reason and author: those to come are counted apart.',
    validator: (input) => {
      refuse(migration.acknowledgeRefusal() ?? acknowledgeRefusal(migration.plan, migration.state, input as unknown));
    },
  });
  setHandler(messages.revokeUpdate, (input) => migration.revokeAcknowledgement(input), {
    description: 'Ends an acknowledgement: discrepancies of its pattern set the soak back again.',
    validator: (input) => {
      refuse(revokeRefusal(migration.state, input as unknown));
    },
  });

  setHandler(messages.confirmHookUpdate, (input) => confirmHook(migration, input), {
    description: 'Confirms a hook that waits, or with "ok": false fails it: {"name", "event", "by", "reason", "ok"}.',
    validator: (input) => {
      refuse(confirmRefusal(migration.state, input as unknown));
    },
  });

  setDefaultSignalHandler((name, input) => {
    migration.unknownSignal(name, input);
  });
}
