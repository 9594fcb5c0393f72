// The audits, in a process of their own that is killed too: it goes on from the checkpoint that it wrote last.
import { setTimeout as delay } from 'node:timers/promises';
import { ForwardAudit, MirrorAudit, OwlmqClient, type TopicOffsets } from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';
import { READY, untilStopped } from '../../../demo/child-process.js';
import { clockMs } from '../../../demo/event-log.js';
import { auditJobSchema, auditProgressSchema, readShared, writeShared, type AuditJob } from './audit-job.js';
import type { AuditProgress } from './audit-job.js';

const settings = z
  .object({ CHAOS_JOB: z.string(), CHAOS_PROGRESS: z.string(), KAFKA_BROKERS: z.string() })
  .parse(process.env);
const STEP_MS = 1_000;
const IDLE_MS = 30;
const AFTER_ERROR_MS = 300;

const connection = { brokers: settings.KAFKA_BROKERS.split(',') };
const owlmq = new OwlmqClient({});

/** One chain of jobs, from where an earlier process left it. */
interface Work {
  readonly chain: number;
  /** Whether `until` is reached. */
  step: (until: TopicOffsets | undefined) => Promise<boolean>;
  checkpoint: () => Pick<AuditProgress, 'forward' | 'mirror'>;
  close: () => Promise<void>;
}

function begin({ direction, chain, topics, from, graceMs }: AuditJob, resumed: AuditProgress | undefined): Work {
  const earlier = resumed?.chain === chain ? resumed : undefined;
  const common = { connection, owlmq, topics, graceMs, clientId: 'chaos-audit' };
  if (direction === 'forward') {
    const audit = new ForwardAudit({ ...common, positions: from.kafka, checkpoint: earlier?.forward });
    return {
      chain,
      step: async (until) => (await audit.step({ maxMs: STEP_MS, ...(until && { until }) })).complete,
      checkpoint: () => ({ forward: audit.checkpoint }),
      close: () => audit.close(),
    };
  }
  const positions = { owlmqPositions: from.owlmq, kafkaPositions: from.kafka };
  const audit = new MirrorAudit({ ...common, ...positions, checkpoint: earlier?.mirror });
  return {
    chain,
    step: async (until) => (await audit.step({ maxMs: STEP_MS, ...(until && { until }) })).complete,
    checkpoint: () => ({ mirror: audit.checkpoint }),
    close: () => audit.close(),
  };
}

let stopping = false;
const stopped = untilStopped().then(() => {
  stopping = true;
});
console.log(READY);

let work: Work | undefined;
async function once(job: AuditJob): Promise<void> {
  if (work?.chain !== job.chain) {
    const before = work;
    work = undefined;
    await before?.close();
    work = begin(job, readShared(settings.CHAOS_PROGRESS, auditProgressSchema));
  }
  const { direction, chain, serial, until } = job;
  const at = { direction, chain, serial };
  try {
    const complete = (await work.step(until)) && until !== undefined;
    writeShared(settings.CHAOS_PROGRESS, { ...at, complete, ...work.checkpoint() } satisfies AuditProgress);
  } catch (error) {
    console.log(Math.round(clockMs()), String(error));
    const failed = { ...at, complete: false, error: String(error), ...work.checkpoint() };
    writeShared(settings.CHAOS_PROGRESS, failed satisfies AuditProgress);
    const broken = work;
    work = undefined;
    await broken.close();
    await delay(AFTER_ERROR_MS);
  }
}

async function run(): Promise<void> {
  while (!stopping) {
    const job = readShared(settings.CHAOS_JOB, auditJobSchema);
    if (job !== undefined) await once(job);
    await delay(IDLE_MS);
  }
}

await Promise.all([run(), stopped]);
await work?.close();
await owlmq.close();
