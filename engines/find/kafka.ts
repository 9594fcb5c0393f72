import { readdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheFolder, fetchIntoCache } from '../fetch/cache.js';
import { fetchWithMaven } from '../fetch/maven.js';
import type { Progress } from '../fetch/progress.js';
import { onPath, outputOf } from '../process/run-command.js';
import { findJava } from './java.js';
import { atLeast, versions } from './versions.js';
import { firstThatWorks } from './ways.js';

/** A Kafka that can be run here. */
export type KafkaProgram =
  | { readonly kind: 'java'; readonly java: string; readonly libs: string }
  | { readonly kind: 'docker'; readonly docker: string; readonly image: string };

const cached = `kafka-${versions.kafka}`;

/** The oldest Kafka that keeps KRaft with its controller in the same process as fit for use. */
const OLDEST_KAFKA = '3.7.0';

/**
 * A Kafka to run: KAFKA_HOME, one on PATH, the cache; else fetched into the cache by Maven. Without Java: Docker's image.
 * @throws EngineUnavailableError, DiskFullError
 */
export async function findKafka(progress: Progress, signal?: AbortSignal): Promise<KafkaProgram> {
  const home = process.env.KAFKA_HOME;
  return firstThatWorks(
    'Kafka',
    [
      ...(home ? [{ name: `KAFKA_HOME=${home}`, get: () => onJava(join(home, 'libs')) }] : []),
      { name: '`kafka-server-start.sh` on PATH', get: async () => onJava(await libsOnPath()) },
      { name: `cache ${cacheFolder()}`, get: () => onJava(join(cacheFolder(), cached, 'libs')) },
      {
        name: `Maven, org.apache.kafka:kafka_${versions.kafkaScala}:${versions.kafka}`,
        get: async () => {
          await findJava();
          const folder = await fetchIntoCache(cached, { signal, log: progress.log }, (partial) =>
            progress.during(`fetching Kafka ${versions.kafka} with Maven`, () => fromMaven(partial, signal)),
          );
          return onJava(join(folder, 'libs'));
        },
      },
      { name: `Docker, apache/kafka:${versions.kafka}`, get: withDocker },
    ],
    [
      'Java 17 or later and Maven (Debian, Ubuntu: apt install openjdk-17-jre-headless maven; macOS: brew install openjdk maven)',
      'Java 17 or later and KAFKA_HOME=folder of an unpacked Kafka (https://kafka.apache.org/downloads)',
      'a running Docker',
      'KAFKA_BROKERS=host:port,… of a running Kafka',
    ],
    signal,
  );
}

async function onJava(libs: string): Promise<KafkaProgram> {
  let files: string[];
  try {
    files = await readdir(libs);
  } catch (error) {
    throw new Error(`no Kafka at ${libs}`, { cause: error });
  }
  const version = files.map((file) => /^kafka_2\.\d+-(\d+\.\d+\.\d+).*\.jar$/.exec(file)?.[1]).find((found) => found);
  if (version === undefined) throw new Error(`no Kafka server jar in ${libs}`);
  if (!atLeast(version, OLDEST_KAFKA)) throw new Error(`${libs} is Kafka ${version}, older than ${OLDEST_KAFKA}`);
  return { kind: 'java', java: await findJava(), libs };
}

/** Where the start script on PATH keeps its jars: beside its folder, or in `libexec` as Homebrew lays it out. */
async function libsOnPath(): Promise<string> {
  const script = (await onPath('kafka-server-start.sh')) ?? (await onPath('kafka-server-start'));
  if (script === undefined) throw new Error('not there');
  const installed = dirname(dirname(await realpath(script)));
  for (const libs of [join(installed, 'libs'), join(installed, 'libexec', 'libs')]) {
    try {
      await readdir(libs);
      return libs;
    } catch {
      continue; // Not this layout.
    }
  }
  throw new Error(`${script} is there, but no folder of jars near it`);
}

async function fromMaven(folder: string, signal?: AbortSignal): Promise<void> {
  await fetchWithMaven(
    [
      `org.apache.kafka:kafka_${versions.kafkaScala}:${versions.kafka}`,
      `org.apache.kafka:kafka-tools:${versions.kafka}`,
      `org.slf4j:slf4j-simple:${versions.slf4j}`,
    ],
    folder,
    signal,
  );
}

async function withDocker(): Promise<KafkaProgram> {
  const docker = await onPath('docker');
  if (docker === undefined) throw new Error('Docker is not on PATH');
  await outputOf(docker, ['version', '--format', '{{.Server.Version}}']);
  return { kind: 'docker', docker, image: `apache/kafka:${versions.kafka}` };
}
