import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, fetchIntoCache } from '../fetch/cache.js';
import { installWithGo } from '../fetch/go-install.js';
import type { Progress } from '../fetch/progress.js';
import { isExecutable, onPath, outputOf } from '../process/run-command.js';
import { atLeast, versions } from './versions.js';
import { firstThatWorks } from './ways.js';

const name = 'toxiproxy-server';
const cached = `toxiproxy-${versions.toxiproxy}-${process.platform}-${process.arch}`;
const module = 'github.com/Shopify/toxiproxy/v2';

/** The oldest one that knows the toxics `reset_peer` and `limit_data`. */
const OLDEST = '2.4.0';

/**
 * Path of toxiproxy's server, which breaks links on purpose: TOXIPROXY_SERVER, PATH, the cache; else built into the cache
 * by `go install`.
 * @throws EngineUnavailableError, DiskFullError
 */
export async function findToxiproxy(progress: Progress, signal?: AbortSignal): Promise<string> {
  const given = process.env.TOXIPROXY_SERVER;
  return firstThatWorks(
    'Toxiproxy',
    [
      ...(given ? [{ name: `TOXIPROXY_SERVER=${given}`, get: () => checked(given) }] : []),
      { name: `\`${name}\` on PATH`, get: async () => checked(await onPath(name)) },
      { name: `cache ${cacheFolder()}`, get: () => checked(join(cacheFolder(), cached, name)) },
      {
        name: `go install ${module}/cmd/server@v${versions.toxiproxy}`,
        get: async () => {
          const folder = await fetchIntoCache(cached, { signal, log: progress.log }, (partial) =>
            progress.during(`building Toxiproxy ${versions.toxiproxy} with Go`, () => build(partial, signal)),
          );
          return checked(join(folder, name));
        },
      },
    ],
    [
      `${name} on PATH: https://github.com/Shopify/toxiproxy#1-installing-toxiproxy`,
      'Go 1.23 or later (or an older one that may fetch its toolchain), so that it can be built',
      'TOXIPROXY_SERVER=path of its server',
    ],
    signal,
  );
}

async function checked(file: string | undefined): Promise<string> {
  if (file === undefined) throw new Error('not there');
  if (!(await isExecutable(file))) throw new Error(`no program at ${file}`);
  // "toxiproxy-server version 2.12.0"
  const output = await outputOf(file, ['-version']);
  const version = /version v?(\d+\.\d+\.\d+)/.exec(output)?.[1];
  if (version === undefined) throw new Error(`${file} -version printed no version: ${output.trim()}`);
  if (!atLeast(version, OLDEST)) throw new Error(`${file} is ${version}, older than ${OLDEST}`);
  return file;
}

async function build(folder: string, signal?: AbortSignal): Promise<void> {
  const ldflags = `-X ${module}.Version=${versions.toxiproxy}`;
  await installWithGo({ module, program: 'cmd/server', version: versions.toxiproxy, ldflags }, folder, signal);
  await rename(join(folder, 'server'), join(folder, name));
}
