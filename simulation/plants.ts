/** An edit of production code, as it is loaded. White space in `find` stands for any. */
export interface Edit {
  /** End of the compiled file's path. */
  file: string;
  find: string;
  replace: string;
}

/** A fault of the protocol that somebody might make. */
export interface Plant {
  name: string;
  what: string;
  edits: readonly Edit[];
  /** The first seed, from 1 on, that finds it: measured, and repeated by the test. Absent: none has yet. */
  found?: number;
}

const cutover = 'dist/src/workflows/phases/cutover.js';
const rollBack = 'dist/src/workflows/phases/roll-back.js';
const migration = 'dist/src/workflows/migration.js';
const fleet = 'dist/src/activities/fleet.js';
const routingView = 'kafka-bridge/dist/routing/routing-view.js';
const applyGate = 'kafka-bridge/dist/consumer/apply-gate.js';
const dispatcher = 'kafka-bridge/dist/publisher/dispatcher.js';

/** Faults that are planted one at a time: those with a seed are found again by it in the tests. */
export const plants: readonly Plant[] = [
  {
    name: 'no-lease',
    what: 'members trust a routing state for ever',
    edits: [
      {
        file: routingView,
        find: 'return now < (this.leaseEnd ?? -Infinity);',
        replace: 'return this.leaseEnd !== undefined || this.#report !== undefined;',
      },
      { file: routingView, find: 'return this.#superseded.get(epoch) ?? -Infinity;', replace: 'return Infinity;' },
    ],
    found: 110,
  },
  {
    name: 'lease-without-reports',
    what: 'the lease of a member whose reports get lost goes on',
    edits: [
      {
        file: routingView,
        find: 'Math.min(this.#leaseStart + this.leaseMs, this.#reportEnd)',
        replace: 'this.#leaseStart + this.leaseMs',
      },
    ],
    found: 88,
  },
  {
    name: 'no-drain',
    what: 'the cutover does not wait for consumers to drain',
    edits: [
      {
        file: 'dist/src/activities/drain.js',
        find: 'async look() {',
        replace: 'async look() { return { ready: { furthest: this.#furthest, behind: {} } };',
      },
      {
        file: fleet,
        find: 'report.epoch >= epoch && follows && !lacksShadow',
        replace: "state === 'drained' || (report.epoch >= epoch && follows && !lacksShadow)",
      },
    ],
    found: 262,
  },
  {
    name: 'late-journal',
    what: 'the journal is written once the switch is through',
    edits: [
      { file: cutover, find: 'state.cutover.journaledAt = now();', replace: '' },
      {
        file: cutover,
        find: 'await switchToOwlmq(migration); state.cutover.windowMs',
        replace: 'await switchToOwlmq(migration); state.cutover.journaledAt = now(); state.cutover.windowMs',
      },
    ],
    found: 293,
  },
  {
    name: 'no-audit',
    what: 'positions are translated without an audit up to the fence, nor a look whether copies are missing',
    edits: [
      {
        file: 'kafka-bridge/dist/offsets/translation.js',
        find: '(record.intended ? missing : uncovered).push(record);',
        replace: 'if (!record.intended) uncovered.push(record);',
      },
      {
        file: cutover,
        find: "const prove = (until) => proveCopies(migration, 'prove all copies up to the fence', { until, activity: inWindow.auditToOwlmq });",
        replace: 'const prove = () => Promise.resolve();',
      },
    ],
    found: 351,
  },
  {
    name: 'no-fence',
    what: 'the cutover does not wait for publishers to hold',
    edits: [
      {
        file: fleet,
        find: "report.epoch >= epoch && (!fenced || (report.state === 'fenced' && report.inFlight === 0))",
        replace: 'fenced || report.epoch >= epoch',
      },
    ],
    found: 176,
  },
  {
    name: 'counted-out-early',
    what: 'a member counts as silent before its lease is over',
    edits: [
      {
        file: 'kafka-bridge/dist/members/member-roster.js',
        find: 'return silentMs > report.leaseMs + LEASE_MARGIN_MS;',
        replace: 'return silentMs > report.leaseMs / 2;',
      },
    ],
    found: 676,
  },
  {
    name: 'hasty-publisher',
    what: 'a publisher that starts writes before it has read the routing',
    edits: [
      { file: dispatcher, find: 'if (!this.#open || !this.#options.mayWrite()) return;', replace: '' },
      {
        file: dispatcher,
        find: '() => this.#options.mayWriteUnder(epoch)',
        replace: '() => epoch === 0 || this.#options.mayWriteUnder(epoch)',
      },
    ],
    found: 29,
  },
  {
    name: 'unknown-sent-again',
    what: 'a call that OwlMQ may have is written to Kafka after a rollback, and nobody looks whether it is there',
    edits: [
      {
        file: dispatcher,
        find: "if (primary !== 'kafka' || inKafkaBefore === undefined) return false;",
        replace: 'return false;',
      },
    ],
    found: 34665,
  },
  {
    name: 'drain-ignored',
    what: 'consumers apply past the drain',
    edits: [
      {
        file: applyGate,
        find: 'if (state.drain === undefined) return Infinity;',
        replace: "if (state.drain !== 'stop') return Infinity;",
      },
    ],
    found: 1,
  },
  {
    name: 'both-live',
    what: 'a side is left to itself where the other one begins, and applies whichever is live',
    edits: [
      {
        file: 'kafka-bridge/dist/consumer/side-slot.js',
        find: 'await this.#current.stop();',
        replace: '',
      },
      {
        file: applyGate,
        find: "if (state.live !== side || state.drain === 'stop') return 0;",
        replace: "if (state.drain === 'stop') return 0;",
      },
    ],
    found: 1,
  },
  {
    name: 'gate-without-lease',
    what: 'consumers apply without a lease',
    edits: [
      {
        file: applyGate,
        find: 'if (this.#routing.leaseValid && this.#inHand[other] === 0)',
        replace: 'if (this.#inHand[other] === 0)',
      },
    ],
    found: 267,
  },
  {
    name: 'epoch-reused',
    what: 'the epoch of a write that failed is used again',
    edits: [
      {
        file: migration,
        find: 'this.state.epoch = Math.max(this.state.epoch, supersedingEpoch(error));',
        replace: 'this.state.epoch = Math.max(this.state.epoch - 1, supersedingEpoch(error));',
      },
    ],
  },
  {
    name: 'epoch-overwritten',
    what: 'a writer does not look whether a higher epoch stands',
    edits: [
      {
        file: 'kafka-bridge/dist/routing/write-decision.js',
        find: 'standing.epoch >= state.epoch',
        replace: 'sameState(standing, state)',
      },
    ],
  },
  {
    name: 'cancel-keeps-drain',
    what: 'a cancelled cutover leaves the drain in force',
    edits: [
      {
        file: cutover,
        find: 'const back = { fence: undefined, drain: undefined };',
        replace: 'const back = { fence: undefined };',
      },
    ],
    found: 246,
  },
  {
    name: 'rollback-without-stop',
    what: 'a rollback does not stop the OwlMQ consumers',
    edits: [{ file: rollBack, find: 'await drainOwlmqConsumers(migration);', replace: '' }],
    found: 543,
  },
  {
    name: 'rollback-without-mirror',
    what: 'a rollback translates positions without proving that Kafka has everything',
    edits: [
      {
        file: rollBack,
        find: "await proveMirror(migration, 'prove that Kafka has everything', fences, true, AUDIT_RETRIES);",
        replace: '',
      },
    ],
    found: 1192,
  },
  {
    name: 'rollback-of-the-known',
    what: 'a rollback takes a switch that it did not hear of for not written',
    edits: [
      {
        file: rollBack,
        find: "...{ primary: 'owlmq', live: 'owlmq', shadow: 'off', shadowFrom: undefined },",
        replace: '',
      },
    ],
    found: 906,
  },
  {
    name: 'position-too-high',
    what: 'a translated position is one message too high',
    edits: [
      {
        file: 'kafka-bridge/dist/offsets/translation.js',
        find: 'return { ok: true, target, unconsumed, late };',
        replace: 'return { ok: true, target: Math.min(target + 1, targetEnd), unconsumed, late };',
      },
    ],
    found: 505,
  },
];
