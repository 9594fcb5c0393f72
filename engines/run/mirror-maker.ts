import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import type { KafkaTools } from '../find/kafka-tools.js';
import type { ServerPlan } from './server-plan.js';

/** A cluster as MirrorMaker 2 calls it. */
export interface MirrorCluster {
  /** Names of topics on the other cluster begin with it. */
  readonly alias: string;
  readonly brokers: readonly string[];
}

/** One flow of topics with the positions of all groups on them. */
export interface MirrorFlow {
  readonly from: MirrorCluster;
  readonly to: MirrorCluster;
  readonly topics: readonly string[];
  /** Further settings, over those that make it run with one broker a cluster. */
  readonly settings: Readonly<Record<string, string>>;
}

/** A MirrorMaker 2 process of its own (dedicated mode). It answers once the topics are there on the other cluster. */
export function mirrorMakerPlan(tools: KafkaTools, folder: string, flow: MirrorFlow): ServerPlan<never> {
  const file = join(folder, 'mirror-maker.properties');
  return {
    id: 'mirror-maker',
    title: 'MirrorMaker 2',
    folder,
    preferredPorts: {},
    fingerprint: '',
    readyWithinMs: 120_000,
    graceMs: 5_000,
    command: async () => {
      await mkdir(folder, { recursive: true });
      await writeFile(file, properties(flow));
      const log = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
      const main = 'org.apache.kafka.connect.mirror.MirrorMaker';
      return { file: tools.java, args: ['-Xmx512m', log, '-cp', join(tools.libs, '*'), main, file], cwd: folder };
    },
    probe: async () => {
      const kafka = new kafkajs.Kafka({
        ...{ clientId: 'engines', brokers: [...flow.to.brokers], logLevel: kafkajs.logLevel.NOTHING },
        ...{ connectionTimeout: 2_000, requestTimeout: 5_000, retry: { retries: 0 } },
      });
      const admin = kafka.admin();
      try {
        await admin.connect();
        const there = await admin.listTopics();
        const missing = flow.topics.find((topic) => !there.includes(mirroredTopic(flow, topic)));
        if (missing !== undefined) throw new Error(`topic ${missing} is not yet mirrored`);
      } finally {
        await admin.disconnect();
      }
    },
  };
}

/** Name of a topic on the other cluster, by MirrorMaker 2's default policy. */
export function mirroredTopic({ from }: Pick<MirrorFlow, 'from'>, topic: string): string {
  return `${from.alias}.${topic}`;
}

function properties({ from, to, topics, settings }: MirrorFlow): string {
  const flow = `${from.alias}->${to.alias}`;
  // Kafka's defaults ask for three brokers.
  const replicated = ['checkpoints.topic', 'heartbeats.topic', 'offset-syncs.topic'];
  const stored = ['offset.storage', 'status.storage', 'config.storage'];
  const lines = {
    clusters: `${from.alias}, ${to.alias}`,
    [`${from.alias}.bootstrap.servers`]: from.brokers.join(','),
    [`${to.alias}.bootstrap.servers`]: to.brokers.join(','),
    [`${flow}.enabled`]: 'true',
    [`${flow}.topics`]: topics.join(', '),
    [`${to.alias}->${from.alias}.enabled`]: 'false',
    ...Object.fromEntries(
      [...replicated, ...stored].map((what) => [`${what}.replication.factor`, '1'] as [string, string]),
    ),
    'replication.factor': '1',
    ...settings,
  };
  return Object.entries(lines)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('');
}
