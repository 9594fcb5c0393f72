import type { Command } from 'commander';
import { pause } from '../../async/bounded.js';
import { secretFromSettings } from '../../environment/connection-settings.js';
import type { LiveView } from '../../live-view.js';
import type { CliIo } from '../cli-io.js';
import { takeConfigProblems } from '../config-file.js';
import { readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { LiveText } from '../live-text.js';
import { printable } from '../words.js';
import { PageAwayError, PageClient } from './page-client.js';
import { listLines, needsSomebody, screenLines, summaryLine } from './screen.js';

interface StatusOptions {
  watch?: string;
  pageUrl?: string;
  pageTokenFile?: string;
}

/** What `status` does. */
export async function status(command: Command, migration: string | undefined, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  for (const problem of takeConfigProblems(command)) inputs.add(problem);
  const output = readOutput(command, inputs);
  const given = command.opts<StatusOptions>();
  const everyS = inputs.number('--watch', given.watch, { min: 1, max: 3_600 });
  if (everyS !== undefined && output === 'json') inputs.add('--watch and --output json exclude each other');
  if (everyS !== undefined && migration === undefined) inputs.add('--watch needs a migration');
  const page = readPage(given, inputs);
  inputs.settle();
  if (page === undefined) return EXIT.input;

  const ended = new AbortController();
  const release = io.onInterrupt(() => {
    ended.abort();
  });
  try {
    const client = new PageClient(page);
    if (migration !== undefined && everyS !== undefined)
      return await watch(client, migration, everyS, io, ended.signal);
    if (migration === undefined) {
      const list = await client.list(ended.signal);
      const more = list.more ? ['There are more: older ones are in the Temporal UI.'] : [];
      print(io, output === 'json' ? [JSON.stringify(list, undefined, 2)] : [...listLines(list.migrations), ...more]);
      return EXIT.ok;
    }
    const view = await client.view(migration, ended.signal);
    print(io, output === 'json' ? [JSON.stringify(view, undefined, 2)] : screenLines(view));
    return exitCodeOf(view);
  } catch (error) {
    if (ended.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    release();
  }
}

/** Shows it until Ctrl-C, or the end of the run. A worker that goes and comes again is waited for. */
async function watch(
  client: PageClient,
  migration: string,
  everyS: number,
  io: CliIo,
  signal: AbortSignal,
): Promise<ExitCode> {
  const screen = new LiveText(io);
  let last: LiveView | undefined;
  for (;;) {
    try {
      last = await client.view(migration, signal);
      if (io.columns === undefined) print(io, [summaryLine(last)]);
      else screen.show([...screenLines(last), '', `as of ${last.at}; Ctrl-C ends this`]);
      if (last.run !== 'running') return exitCodeOf(last);
    } catch (error) {
      if (signal.aborted) return EXIT.interrupted;
      const passing = error instanceof PageAwayError && last !== undefined;
      if (!passing) throw error;
      const problem = printable(error.message);
      if (io.columns === undefined) io.err(`${problem}\n`);
      else if (last !== undefined) screen.show([`NOT READ    ${problem}`, '', ...screenLines(last)]);
    }
    await pause(everyS * 1_000, signal);
    if (signal.aborted) return EXIT.interrupted;
  }
}

function print(io: CliIo, lines: readonly string[]): void {
  io.out(`${lines.join('\n')}\n`);
}

function exitCodeOf(view: LiveView): ExitCode {
  return needsSomebody(view) ? EXIT.differences : EXIT.ok;
}

function readPage(given: StatusOptions, inputs: Inputs): { url: string; token: string } | undefined {
  const { pageUrl: url = '', pageTokenFile } = given;
  // A token on the command line would be seen by everybody on the machine.
  const token = secretFromSettings(
    { PAGE_TOKEN: process.env['PAGE_TOKEN'], PAGE_TOKEN_FILE: pageTokenFile },
    'PAGE_TOKEN',
    {
      add: (problem) => {
        inputs.add(problem);
      },
    },
  );
  if (url === '') {
    inputs.add("--page-url (PAGE_URL) is not set: set it to the worker's live page, for example http://127.0.0.1:8090");
  } else if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    inputs.add('--page-url (PAGE_URL) is no http or https address');
  } else if (!isSafe(new URL(url))) {
    inputs.add('--page-url (PAGE_URL) would send the token in clear: take https, or a tunnel to 127.0.0.1');
  }
  if (token === undefined && (pageTokenFile ?? '') === '') {
    inputs.add(
      "PAGE_TOKEN is not set: set it, or --page-token-file (PAGE_TOKEN_FILE), to the token of the worker's page",
    );
  }
  // The worker may have several, so that one can follow another.
  const [first] = (token ?? '').split(/[\s,]+/).filter((one) => one !== '');
  return first === undefined ? undefined : { url, token: first };
}

function isSafe({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/.test(hostname);
}
