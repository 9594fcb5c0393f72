import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, fetchIntoCache } from '../fetch/cache.js';
import { fetchWithMaven } from '../fetch/maven.js';
import type { Progress } from '../fetch/progress.js';
import { downloadWithSdk } from '../fetch/sdk-download.js';
import { isExecutable } from '../process/run-command.js';
import { findJava } from './java.js';
import { versions } from './versions.js';
import { firstThatWorks } from './ways.js';

const version = versions.temporalTestServer;
const native = `temporal-test-server-${version}-${process.platform}-${process.arch}`;
const onJava = `temporal-test-server-${version}-java`;
const program = 'temporal-test-server';

/**
 * Path of Temporal's time-skipping test server, for `TestWorkflowEnvironment.createTimeSkipping` as an existing path:
 * TEMPORAL_TEST_SERVER, the cache; else fetched into the cache by the SDK's downloader or Maven.
 * @throws EngineUnavailableError, DiskFullError
 */
export async function findTestServer(progress: Progress, signal?: AbortSignal): Promise<string> {
  const given = process.env.TEMPORAL_TEST_SERVER;
  const fetching = { signal, log: progress.log };
  return firstThatWorks(
    "Temporal's time-skipping test server",
    [
      ...(given ? [{ name: `TEMPORAL_TEST_SERVER=${given}`, get: () => existing(given) }] : []),
      { name: `cache ${cacheFolder()}`, get: () => existing(join(cacheFolder(), native, program)) },
      {
        name: `cache ${cacheFolder()}, for Java`,
        get: async () => {
          await findJava();
          return existing(join(cacheFolder(), onJava, program));
        },
      },
      {
        name: `download of ${version} by the Temporal SDK`,
        get: async () => {
          const folder = await fetchIntoCache(native, fetching, (partial) =>
            progress.during(`downloading the Temporal test server ${version}`, () =>
              downloadWithSdk('time-skipping', version, partial, program, signal),
            ),
          );
          return join(folder, program);
        },
      },
      {
        name: `Maven, io.temporal:temporal-test-server:${version}`,
        get: async () => {
          await findJava();
          const folder = await fetchIntoCache(onJava, fetching, (partial) =>
            progress.during(`fetching the Temporal test server ${version} with Maven`, () =>
              fromMaven(partial, signal),
            ),
          );
          return join(folder, program);
        },
      },
    ],
    [
      'a network that reaches temporal.download',
      'Java 17 or later and Maven (Debian, Ubuntu: apt install default-jre-headless maven; macOS: brew install openjdk maven)',
      'TEMPORAL_TEST_SERVER=path of the test server',
    ],
    signal,
  );
}

async function existing(file: string): Promise<string> {
  if (!(await isExecutable(file))) throw new Error(`no program at ${file}`);
  return file;
}

async function fromMaven(folder: string, signal?: AbortSignal): Promise<void> {
  await fetchWithMaven([`io.temporal:temporal-test-server:${version}`], folder, signal);
  const wrapper = join(folder, program);
  // The SDK runs one program, not a Java command line.
  await writeFile(
    wrapper,
    `#!/bin/sh
exec "\${JAVA_HOME:+$JAVA_HOME/bin/}java" -cp "$(dirname "$0")/libs/*" io.temporal.testserver.TestServer "$@"
`,
  );
  await chmod(wrapper, 0o755);
}
