import type { ForwardCheckpoint, MirrorCheckpoint } from '../../audit/checkpoints.js';
import { ForwardAudit } from '../../audit/forward-audit.js';
import { MirrorAudit } from '../../audit/mirror-audit.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import type { OffsetSyncWriter } from '../../offsets/sync-log.js';
import type { OwlmqApi } from '../../owlmq/owlmq-api.js';
import type { TopicOffsets } from '../../routing/routing-state.js';
import type { CheckpointFile, StartPositions } from './checkpoint-file.js';
import { forwardParity, mirrorParity, type TopicParity } from './parity.js';

/** Where both legs ended when the audit began. */
export interface LegEnds {
  kafka: TopicOffsets;
  owlmq: TopicOffsets;
}

/** Either of the two audits, as the command drives it. */
export interface LegAudit {
  /** One bounded step. */
  step: (maxMs: number, signal: AbortSignal) => Promise<{ waiting: number; oldestUnprovenMs?: number }>;
  /** Also after a step that threw. */
  checkpoint: () => CheckpointFile['checkpoint'];
  /** What was counted, by topic. */
  parity: () => Record<string, TopicParity>;
  /** Offsets that were passed, of the legs that it reads; and those up to the ends. */
  progress: (ends: LegEnds) => { passed: number; left: number };
  /** Leaves what it knows of positions to translations. */
  note: (syncs: OffsetSyncWriter, last: boolean) => Promise<void>;
  close: () => Promise<void>;
}

interface LegAuditOptions {
  connection: KafkaConnection;
  owlmq: OwlmqApi;
  topics: readonly string[];
  graceMs: number;
  repair: boolean;
  from: StartPositions;
  /** Goes on from it, in place of `from`. */
  checkpoint: CheckpointFile['checkpoint'] | undefined;
}

const CLIENT_ID = 'kafka-bridge';

/** Kafka to OwlMQ. */
export function forwardLegs(
  options: LegAuditOptions,
  forward: { topics: readonly string[]; ratio: number } | undefined,
): LegAudit {
  const { from, checkpoint, ...rest } = options;
  const audit = new ForwardAudit({
    ...rest,
    forward,
    positions: from.kafka,
    checkpoint: checkpoint as ForwardCheckpoint | undefined,
    clientId: CLIENT_ID,
  });
  const start = audit.checkpoint.positions;
  return {
    step: (maxMs, signal) => audit.step({ maxMs, signal }),
    checkpoint: () => ({ ...audit.checkpoint }),
    parity: () =>
      Object.fromEntries(
        Object.entries(audit.checkpoint.figures).map(([topic, of]) => [topic, forwardParity(of, rest.repair)]),
      ),
    progress: (ends) => {
      const { positions } = audit.checkpoint;
      return { passed: between(start, positions), left: between(positions, ends.kafka) };
    },
    note: (syncs, last) => syncs.forward(audit.checkpoint, { last }),
    close: () => audit.close(),
  };
}

/** Both ways. */
export function mirrorLegs(options: LegAuditOptions): LegAudit {
  const { from, checkpoint, ...rest } = options;
  const audit = new MirrorAudit({
    ...rest,
    owlmqPositions: from.owlmq ?? {},
    kafkaPositions: from.kafka,
    checkpoint: checkpoint as MirrorCheckpoint | undefined,
    clientId: CLIENT_ID,
  });
  const start = audit.checkpoint;
  return {
    step: (maxMs, signal) => audit.step({ maxMs, signal }),
    checkpoint: () => ({ ...audit.checkpoint }),
    parity: () =>
      Object.fromEntries(
        Object.entries(audit.checkpoint.figures).map(([topic, of]) => [topic, mirrorParity(of, rest.repair)]),
      ),
    progress: (ends) => {
      const { kafka, owlmq } = audit.checkpoint;
      return {
        passed: between(start.kafka, kafka) + between(start.owlmq, owlmq),
        left: between(kafka, ends.kafka) + between(owlmq, ends.owlmq),
      };
    },
    note: (syncs, last) => syncs.mirror(audit.checkpoint, { from: start.kafka, last }),
    close: () => audit.close(),
  };
}

function between(from: TopicOffsets, to: TopicOffsets): number {
  let offsets = 0;
  for (const [topic, ends] of Object.entries(to)) {
    for (const [partition, end] of ends.entries()) offsets += Math.max(0, end - (from[topic]?.[partition] ?? 0));
  }
  return offsets;
}
