import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, fetchIntoCache } from '../fetch/cache.js';
import { fetchWithMaven } from '../fetch/maven.js';
import type { Progress } from '../fetch/progress.js';
import { findJava } from './java.js';
import { findKafka } from './kafka.js';
import { versions } from './versions.js';
import { firstThatWorks } from './ways.js';

/** Jars of Kafka's own programs, and a Java that runs them. */
export interface KafkaTools {
  readonly java: string;
  /** Folder with all the jars. */
  readonly libs: string;
  /** Of the tools, such as `4.3.0`. */
  readonly version: string;
}

const cached = `kafka-mirror-${versions.kafka}`;
const ADVICE = [
  'Java 17 or later and Maven (Debian, Ubuntu: apt install openjdk-17-jre-headless maven; macOS: brew install openjdk maven)',
  'Java 17 or later and KAFKA_HOME=folder of an unpacked Kafka 3.8 or later (https://kafka.apache.org/downloads)',
];

/**
 * Kafka's console tools, of the Kafka that `findKafka` gives.
 * @throws EngineUnavailableError also where Kafka would run in Docker, DiskFullError
 */
export async function findConsoleTools(progress: Progress, signal?: AbortSignal): Promise<KafkaTools> {
  return firstThatWorks(
    "Kafka's console tools",
    [{ name: "Kafka's jars", get: () => besideKafka('kafka-tools', progress, signal) }],
    ADVICE,
    signal,
  );
}

/**
 * MirrorMaker 2: that of KAFKA_HOME or of a Kafka on PATH, the cache; else fetched into the cache by Maven.
 * @throws EngineUnavailableError, DiskFullError
 */
export async function findMirrorMaker(progress: Progress, signal?: AbortSignal): Promise<KafkaTools> {
  return firstThatWorks(
    'MirrorMaker 2',
    [
      { name: "Kafka's jars", get: () => besideKafka('connect-mirror', progress, signal) },
      { name: `cache ${cacheFolder()}`, get: () => inFolder('connect-mirror', join(cacheFolder(), cached, 'libs')) },
      {
        name: `Maven, org.apache.kafka:connect-mirror:${versions.kafka}`,
        get: async () => {
          await findJava();
          const folder = await fetchIntoCache(cached, { signal, log: progress.log }, (partial) =>
            progress.during(`fetching MirrorMaker ${versions.kafka} with Maven`, () => fromMaven(partial, signal)),
          );
          return inFolder('connect-mirror', join(folder, 'libs'));
        },
      },
    ],
    ADVICE,
    signal,
  );
}

async function besideKafka(artifact: string, progress: Progress, signal?: AbortSignal): Promise<KafkaTools> {
  const kafka = await findKafka(progress, signal);
  if (kafka.kind !== 'java') throw new Error('Kafka is there as an image of Docker only');
  return inFolder(artifact, kafka.libs);
}

async function inFolder(artifact: string, libs: string): Promise<KafkaTools> {
  let files: string[];
  try {
    files = await readdir(libs);
  } catch (error) {
    throw new Error(`no jars at ${libs}`, { cause: error });
  }
  const jar = new RegExp(`^${artifact}-(\\d+\\.\\d+\\.\\d+).*\\.jar$`);
  const version = files.map((file) => jar.exec(file)?.[1]).find((found) => found !== undefined);
  if (version === undefined) throw new Error(`no ${artifact} jar in ${libs}`);
  return { java: await findJava(), libs, version };
}

async function fromMaven(folder: string, signal?: AbortSignal): Promise<void> {
  await fetchWithMaven(
    [`org.apache.kafka:connect-mirror:${versions.kafka}`, `org.slf4j:slf4j-simple:${versions.slf4j}`],
    folder,
    signal,
  );
}
