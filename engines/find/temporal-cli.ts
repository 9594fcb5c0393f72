import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { cacheFolder, fetchIntoCache } from '../fetch/cache.js';
import { installWithGo } from '../fetch/go-install.js';
import type { Progress } from '../fetch/progress.js';
import { downloadWithSdk } from '../fetch/sdk-download.js';
import { isExecutable, onPath, outputOf } from '../process/run-command.js';
import { atLeast, versions } from './versions.js';
import { firstThatWorks } from './ways.js';

const cached = `temporal-cli-${versions.temporalCli}-${process.platform}-${process.arch}`;
const module = 'github.com/temporalio/cli';
const ldflags = `-X ${module}/temporalcli.Version=${versions.temporalCli}`;

/** The oldest dev server whose UI shows current details and summaries. */
const OLDEST_SERVER = '1.28.0';

/**
 * Path of the Temporal CLI: TEMPORAL_CLI, PATH, Go's folder for programs, the cache; else fetched into the cache by the
 * SDK's downloader or `go install`.
 * @throws EngineUnavailableError, DiskFullError
 */
export async function findTemporalCli(progress: Progress, signal?: AbortSignal): Promise<string> {
  const given = process.env.TEMPORAL_CLI;
  const fetching = (fill: (folder: string) => Promise<void>) => async () =>
    join(await fetchIntoCache(cached, { signal, log: progress.log }, fill), 'temporal');
  return firstThatWorks(
    'The Temporal CLI',
    [
      ...(given ? [{ name: `TEMPORAL_CLI=${given}`, get: () => checked(given) }] : []),
      { name: '`temporal` on PATH', get: async () => checked(await onPath('temporal')) },
      { name: `\`temporal\` ${versions.temporalCli} among Go's programs`, get: fromGoFolder },
      { name: `cache ${cacheFolder()}`, get: () => checked(join(cacheFolder(), cached, 'temporal')) },
      {
        name: `download of ${versions.temporalCli} by the Temporal SDK`,
        get: fetching((folder) =>
          progress.during(`downloading the Temporal CLI ${versions.temporalCli}`, () =>
            downloadWithSdk('local', versions.temporalCli, folder, 'temporal', signal),
          ),
        ),
      },
      {
        name: `go install ${module}/cmd/temporal@v${versions.temporalCli}`,
        get: fetching((folder) =>
          progress.during(`building the Temporal CLI ${versions.temporalCli} with Go (some minutes)`, () =>
            installWithGo({ module, program: 'cmd/temporal', version: versions.temporalCli, ldflags }, folder, signal),
          ),
        ),
      },
    ],
    [
      'the Temporal CLI on PATH: https://docs.temporal.io/cli#install',
      'Go 1.25 or later (or an older one that may fetch its toolchain), so that the CLI can be built',
      'TEMPORAL_ADDRESS=host:port of a running Temporal, and TEMPORAL_CLI=path of the CLI',
    ],
    signal,
  );
}

/** The program, if it is one whose dev server is new enough. */
async function checked(file: string | undefined): Promise<string> {
  if (file === undefined) throw new Error('not there');
  if (!(await isExecutable(file))) throw new Error(`no program at ${file}`);
  // "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"
  const output = await outputOf(file, ['--version']);
  const server = /Server (\d+\.\d+\.\d+)/.exec(output)?.[1];
  if (server === undefined) throw new Error(`${file} --version printed no server version: ${output.trim()}`);
  if (!atLeast(server, OLDEST_SERVER)) throw new Error(`${file} has server ${server}, older than ${OLDEST_SERVER}`);
  return file;
}

async function fromGoFolder(): Promise<string> {
  const { GOBIN, GOPATH } = process.env;
  const folders = [GOBIN, ...(GOPATH ?? join(homedir(), 'go')).split(delimiter).map((path) => join(path, 'bin'))];
  const go = await onPath('go');
  for (const folder of folders) {
    const file = folder ? join(folder, 'temporal') : undefined;
    if (file === undefined || !(await isExecutable(file))) continue;
    if (go === undefined) throw new Error(`${file} is there, but no \`go\` to tell its version`);
    const built = await outputOf(go, ['version', '-m', file]);
    if (!new RegExp(`\\smod\\s+${module}\\s+v${versions.temporalCli}\\s`).test(built)) {
      throw new Error(`${file} is another version`);
    }
    return checked(file);
  }
  throw new Error('not there');
}
