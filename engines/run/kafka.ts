import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { hasCode } from '../errors.js';
import type { KafkaProgram } from '../find/kafka.js';
import type { Command } from '../process/guarded-process.js';
import { runLong } from '../process/run-command.js';
import type { ServerPlan } from './server-plan.js';

const { Kafka, logLevel } = kafkajs;

type KafkaPort = 'broker' | 'controller';

/** A further port of the broker for clients that reach it through something else, such as a proxy. */
export interface KafkaListener {
  /** Where the broker listens. */
  readonly port: number;
  /** What it tells those who come by this port to connect to. */
  readonly advertisedPort: number;
}

export interface KafkaSettings {
  readonly listeners?: readonly KafkaListener[];
  /** How long the controller takes a broker that was killed for alive, ms (default 9,000): a restart waits for that. */
  readonly sessionTimeoutMs?: number;
  /** Lines behind the others of the broker's properties: they go before those of the same name. */
  readonly properties?: string;
}

/** One Kafka node, broker and controller in one process. Its ports may differ from start to start; its data stays. */
export function kafkaPlan(program: KafkaProgram, folder: string, settings: KafkaSettings = {}): ServerPlan<KafkaPort> {
  return {
    id: 'kafka',
    title: 'Kafka',
    folder,
    preferredPorts: { broker: 9092, controller: 9093 },
    fingerprint: '',
    // Docker may have to pull the image first.
    readyWithinMs: program.kind === 'docker' ? 300_000 : 60_000,
    graceMs: 15_000,
    command: async (ports, signal) => {
      await mkdir(join(folder, 'data'), { recursive: true });
      await writeFile(join(folder, 'server.properties'), properties(program, folder, ports, settings));
      if (!existsSync(join(folder, 'data', 'meta.properties'))) await format(program, folder, signal);
      return program.kind === 'java'
        ? javaCommand(program, folder, ['-Xmx512m'], 'kafka.Kafka', [join(folder, 'server.properties')])
        : dockerCommand(program, folder, published(ports, settings), [
            'kafka-server-start.sh',
            '/engine/server.properties',
          ]);
    },
    probe: ({ broker }) => probeKafka(broker),
  };
}

/** Resolves if the broker answers with metadata that names a broker and a controller. */
async function probeKafka(port: number): Promise<void> {
  const kafka = new Kafka({
    clientId: 'engines',
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    requestTimeout: 5_000,
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    const { brokers, controller } = await admin.describeCluster();
    if (brokers.length === 0 || controller === null) throw new Error('no broker has registered yet');
  } finally {
    await admin.disconnect();
  }
}

function published({ broker }: Record<KafkaPort, number>, { listeners = [] }: KafkaSettings): number[] {
  return [broker, ...listeners.map(({ port }) => port)];
}

function properties(
  program: KafkaProgram,
  folder: string,
  { broker, controller }: Record<KafkaPort, number>,
  { listeners = [], sessionTimeoutMs = 9_000, properties: further = '' }: KafkaSettings,
): string {
  const inDocker = program.kind === 'docker';
  const bind = inDocker ? '0.0.0.0' : '127.0.0.1';
  const ofListeners = (line: (listener: KafkaListener, name: string) => string): string =>
    listeners.map((listener, index) => `,${line(listener, `LISTENER${index + 1}`)}`).join('');
  return `# Written at every start; changes are lost.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controller}
listeners=PLAINTEXT://${bind}:${broker},CONTROLLER://127.0.0.1:${controller}${ofListeners(({ port }, name) => `${name}://${bind}:${port}`)}
advertised.listeners=PLAINTEXT://127.0.0.1:${broker}${ofListeners(({ advertisedPort }, name) => `${name}://127.0.0.1:${advertisedPort}`)}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${ofListeners((_, name) => `${name}:PLAINTEXT`)}
controller.listener.names=CONTROLLER
log.dirs=${inDocker ? '/engine/data' : join(folder, 'data')}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=${sessionTimeoutMs}
broker.heartbeat.interval.ms=${Math.min(2_000, Math.floor(sessionTimeoutMs / 4))}
# Groups form at once: nothing here has to wait for a fleet to come up.
group.initial.rebalance.delay.ms=0
# A misspelt topic must fail, not appear.
auto.create.topics.enable=false
${further}
`;
}

/** Makes the storage once; the cluster id is kept, so that a format that was cut short is repeated with the same. */
async function format(program: KafkaProgram, folder: string, signal: AbortSignal | undefined): Promise<void> {
  const clusterId = await keptClusterId(join(folder, 'cluster-id'));
  const args = ['format', '--cluster-id', clusterId, '--ignore-formatted', '--config'];
  const command =
    program.kind === 'java'
      ? javaCommand(program, folder, ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'], 'kafka.tools.StorageTool', [
          ...args,
          join(folder, 'server.properties'),
        ])
      : dockerCommand(program, folder, [], ['kafka-storage.sh', ...args, '/engine/server.properties']);
  await runLong(command, {
    name: 'formatting the Kafka storage',
    logFile: join(folder, 'format.log'),
    signal,
    timeoutMs: 300_000,
  });
}

async function keptClusterId(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  // Sixteen bytes in URL-safe base64, as Kafka makes them; its option parser would take a leading dash for an option.
  const id = randomBytes(16).toString('base64url').replace(/^-/, 'A');
  await writeFile(file, id);
  return id;
}

function javaCommand(
  { java, libs }: KafkaProgram & { kind: 'java' },
  folder: string,
  options: readonly string[],
  main: string,
  args: readonly string[],
): Command {
  const logger = '-Dorg.slf4j.simpleLogger';
  const log = [
    `${logger}.defaultLogLevel=warn`,
    `${logger}.showDateTime=true`,
    `${logger}.dateTimeFormat=HH:mm:ss.SSS`,
  ];
  return { file: java, args: [...options, ...log, '-cp', join(libs, '*'), main, ...args], cwd: folder };
}

function dockerCommand(
  { docker, image }: KafkaProgram & { kind: 'docker' },
  folder: string,
  ports: readonly number[],
  [script, ...args]: readonly [string, ...string[]],
): Command {
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  const publish = ports.flatMap((port) => ['--publish', `127.0.0.1:${port}:${port}`]);
  const run = ['run', '--rm', '--init', '--user', user, '--volume', `${folder}:/engine`, ...publish];
  const heap = ['--env', 'KAFKA_HEAP_OPTS=-Xmx512m', '--env', 'LOG_DIR=/tmp'];
  return { file: docker, args: [...run, ...heap, '--entrypoint', `/opt/kafka/bin/${script}`, image, ...args] };
}
