import { DualPublisher } from '@owlmq/kafka-bridge';
import { MemberReporter, RoutingFollower, type PublisherReport } from '@owlmq/kafka-bridge/operations';

/**
 * Members of a fleet in one process, for `fence.ts`: `publisher` is one `DualPublisher` under a steady load, `members`
 * are many that follow the routing and report as a publisher at rest does, without publishing.
 */
export interface MemberRequest {
  kind: 'publisher' | 'members';
  count: number;
  migration: string;
  topic: string;
  /** Milliseconds between the calls of a publisher. */
  everyMs: number;
  brokers: string[];
}

export type MemberTold =
  | { type: 'ready' }
  /** How long the longest call of a fence was held. */
  | { type: 'released'; heldMs: number }
  | { type: 'failed'; error: string };

function tell(told: MemberTold): void {
  process.send?.(told);
}

function startPublisher({ brokers, migration, topic, everyMs }: MemberRequest): {
  ready: Promise<void>;
  stop: () => Promise<void>;
} {
  const publisher = new DualPublisher({
    kafka: { brokers },
    migration,
    onEvent: (event) => {
      if (event.type === 'released') tell({ type: 'released', heldMs: event.heldMs });
    },
  });
  let next = 0;
  let timer: NodeJS.Timeout | undefined;
  const publish = (): void => {
    publisher.publish(topic, { n: next }, { key: `key-${next++ % 50}` }).catch((error: unknown) => {
      tell({ type: 'failed', error: String(error) });
    });
  };
  return {
    ready: publisher.connect().then(() => {
      timer = setInterval(publish, everyMs);
    }),
    stop: async () => {
      clearInterval(timer);
      await publisher.close({ timeoutMs: 5_000 });
    },
  };
}

/** What `DualPublisher` does between a fence and its acknowledgement when it has nothing in flight. */
function startMember(
  instance: string,
  { brokers, migration }: MemberRequest,
): { ready: Promise<void>; stop: () => Promise<void> } {
  const connection = { brokers, clientId: instance };
  const follower = new RoutingFollower({ connection, migration, clientId: instance });
  const report = (): PublisherReport => {
    const leg = { messages: 0, bytes: 0 };
    const { state } = follower;
    return {
      ...{ version: 1, role: 'publisher', migration, instance, epoch: state?.epoch ?? 0 },
      ...{ leaseMs: state?.leaseMs ?? 10_000, at: new Date().toISOString() },
      state: state?.fence === undefined ? 'publishing' : 'fenced',
      ...{ inFlight: 0, held: 0, longestHoldMs: 0, backlog: 0, dropped: 0, kafka: leg, owlmq: leg },
      ...{ mirrorDegraded: false, topics: [] },
    };
  };
  const reporter = new MemberReporter({
    ...{ connection, instance, report },
    onDelivered: (delivered) => {
      follower.reported(delivered);
    },
  });
  follower.onChange(() => {
    reporter.now().catch((error: unknown) => {
      tell({ type: 'failed', error: String(error) });
    });
  });
  return {
    ready: reporter.start().then(() => follower.start({ timeoutMs: 60_000 })),
    stop: async () => {
      await reporter.stop({ ...report(), state: 'left' });
      await follower.stop();
    },
  };
}

const request = JSON.parse(process.argv[2] ?? '{}') as MemberRequest;
const members =
  request.kind === 'publisher'
    ? [startPublisher(request)]
    : Array.from({ length: request.count }, (_, n) => startMember(`simulated-${process.pid}-${n}`, request));
// Whoever measures is gone: nobody is left to wait for.
process.once('disconnect', () => process.exit());
process.once('message', () => {
  Promise.all(members.map(({ stop }) => stop()))
    .catch((error: unknown) => {
      tell({ type: 'failed', error: String(error) });
    })
    .finally(() => {
      process.disconnect();
    });
});
await Promise.all(members.map(({ ready }) => ready));
tell({ type: 'ready' });
