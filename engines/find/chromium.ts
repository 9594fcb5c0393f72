import { access, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Progress } from '../fetch/progress.js';
import { isExecutable, onPath, outputOf, runLong } from '../process/run-command.js';
import { firstThatWorks } from './ways.js';

const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
const INSTALL_WITHIN_MS = 5 * 60_000;

/**
 * Path of a Chromium for tests of the live page: CHROMIUM_PATH, then PATH; else, as root on Debian or Ubuntu, installed
 * by apt.
 * @throws EngineUnavailableError, DiskFullError
 */
export async function findChromium(progress: Progress, signal?: AbortSignal): Promise<string> {
  const given = process.env.CHROMIUM_PATH;
  return firstThatWorks(
    'Chromium',
    [
      ...(given ? [{ name: `CHROMIUM_PATH=${given}`, get: () => checked(given) }] : []),
      ...names.map((name) => ({ name: `\`${name}\` on PATH`, get: async () => checked(await onPath(name)) })),
      { name: 'apt-get install chromium, as root', get: () => installed(progress, signal) },
    ],
    ['Chromium or Google Chrome on PATH, for example by `apt-get install chromium`', 'CHROMIUM_PATH=path of one'],
    signal,
  );
}

async function checked(file: string | undefined): Promise<string> {
  if (file === undefined) throw new Error('not there');
  if (!(await isExecutable(file))) throw new Error(`no program at ${file}`);
  // "Chromium 140.0.7339.127 built on Debian"; Ubuntu has one that only asks for a snap.
  if (!/\d+\.\d+\.\d+/.test(await outputOf(file, ['--version']))) throw new Error(`${file} prints no version`);
  return file;
}

async function installed(progress: Progress, signal: AbortSignal | undefined): Promise<string> {
  if (process.getuid?.() !== 0) throw new Error('not root');
  const apt = await onPath('apt-get');
  if (apt === undefined) throw new Error('no apt-get on PATH');
  await access('/etc/debian_version');
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const logFile = join(tmpdir(), `kafka-to-owlmq-apt-${process.pid}.log`);
  const run = async (...args: string[]): Promise<void> => {
    const name = `apt-get ${args[0] ?? ''}`;
    await runLong({ file: apt, args, env }, { name, logFile, timeoutMs: INSTALL_WITHIN_MS, signal });
  };
  try {
    await progress.during('installing Chromium by apt-get', async () => {
      await run('update');
      await run('install', '--yes', '--no-install-recommends', 'chromium');
    });
  } finally {
    await rm(logFile, { force: true });
    await rm(`${logFile}.1`, { force: true });
  }
  return checked(await onPath('chromium'));
}
