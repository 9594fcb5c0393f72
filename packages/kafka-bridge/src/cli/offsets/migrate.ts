import { existsSync } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { unlessAborted } from '../../async/bounded.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput, readOwlmq } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { failureOf } from '../failures.js';
import { Inputs } from '../inputs.js';
import { reachKafka } from '../reach-kafka.js';
import { count, plural, printable } from '../words.js';
import { carryOver } from './carry-over.js';
import { findGroups, translate, type Plan } from './plan.js';
import { Progress } from './progress.js';
import { writeReport, type MigrationReport } from './report.js';
import { readSelection, type Selection } from './selection.js';
import { withSystems, type Systems } from './systems.js';
import { outcomeLines, planLines } from './tables.js';

interface MigrateFlags {
  dryRun?: string;
  skipRefused?: string;
  yes?: string;
  report?: string;
}

interface MigrateRequest {
  selection: Selection;
  dryRun: boolean;
  skipRefused: boolean;
  yes: boolean;
  reportFile: string | undefined;
  output: 'table' | 'json';
}

/** What `migrate-offsets` does. */
export async function migrateOffsets(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const connection = readKafka(command, inputs);
  const owlmqOptions = readOwlmq(command, inputs, io);
  const request = await readRequest(command, inputs);
  inputs.settle();
  if (connection === undefined || owlmqOptions === undefined) return EXIT.input;

  const stop = new AbortController();
  const release = io.onInterrupt(() => {
    if (!stop.signal.aborted) io.err('Ending: what is under way is brought to its end.\n');
    stop.abort();
  });
  try {
    if (!(await reachKafka(connection, io, stop.signal))) return interruptedEarly(io);
    return await withSystems(connection, owlmqOptions, (systems) =>
      new Migration(request, systems, { connection, url: owlmqOptions.url }, io, stop.signal).run(),
    );
  } finally {
    release();
  }
}

async function readRequest(command: Command, inputs: Inputs): Promise<MigrateRequest> {
  const given = command.opts<MigrateFlags>();
  if (given.report !== undefined) await checkReportFile(given.report, inputs);
  return {
    selection: await readSelection(command, inputs, true),
    dryRun: inputs.on('--dry-run', given.dryRun),
    skipRefused: inputs.on('--skip-refused', given.skipRefused),
    yes: inputs.on('--yes', given.yes),
    reportFile: given.report,
    output: readOutput(command, inputs),
  };
}

async function checkReportFile(file: string, inputs: Inputs): Promise<void> {
  try {
    await access(dirname(file), constants.W_OK);
    const there = existsSync(file) ? await stat(file) : undefined;
    // It is replaced as a whole: of /dev/stdout a file would be made.
    if (there?.isFile() === false) inputs.add(`--report ${file} is no file; --output json prints the report`);
  } catch (error) {
    inputs.add(`--report ${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function interruptedEarly(io: CliIo): ExitCode {
  io.err('Ended by Ctrl-C: nothing was written.\n');
  return EXIT.interrupted;
}

/** One run: find, translate, show, ask, import, report. */
class Migration {
  readonly #startedAt = new Date().toISOString();
  readonly #progress: Progress;

  constructor(
    readonly request: MigrateRequest,
    readonly systems: Systems,
    readonly where: { connection: KafkaConnection; url: string },
    readonly io: CliIo,
    readonly signal: AbortSignal,
  ) {
    this.#progress = new Progress(io);
  }

  async run(): Promise<ExitCode> {
    const { request, systems, signal, io } = this;
    const found = findGroups(systems, request.selection, { targetInUse: 'refused' });
    const plan = await unlessAborted(nothingWritten(found), signal);
    if (plan === undefined) return interruptedEarly(io);
    // What stands in the way of all is told at once, before the logs are read.
    if (this.#mayWrite(plan) || request.dryRun) {
      if (!(await nothingWritten(this.#translate(plan)))) return await this.#end(plan, EXIT.interrupted);
    } else {
      leaveOut(plan, 'held-back');
    }
    const said = request.output === 'json' ? io.err : io.out;
    if (request.output === 'table') said(`${planLines(this.#report(plan, EXIT.ok)).map(printable).join('\n')}\n`);
    if (request.dryRun || !this.#mayWrite(plan)) {
      if (!request.dryRun) leaveOut(plan, 'held-back');
      return await this.#end(plan, exitCodeOf(plan));
    }
    if (!(await this.#confirmed(plan, said))) {
      leaveOut(plan, 'held-back');
      plan.notes.push('Not confirmed.');
      return await this.#end(plan, EXIT.refused);
    }
    // Should this process be killed, the file says what it was about to do, and what was there before.
    await nothingWritten(this.#write(this.#report(plan, EXIT.ok)));
    const { failure } = await carryOver(systems, request.selection, plan, {
      signal,
      onProgress: ({ done, of }) => {
        this.#progress.show(`${count(done)} of ${plural(of, 'group')} imported`);
      },
    });
    this.#progress.clear();
    if (failure !== undefined) {
      const { exitCode, message } = failureOf(failure);
      return await this.#end(plan, exitCode, message);
    }
    return await this.#end(plan, exitCodeOf(plan, signal.aborted));
  }

  /** Whether anything would be written: not while any group is refused, unless that was asked for. */
  #mayWrite({ groups }: Plan): boolean {
    const refused = groups.some(({ report }) => report.outcome === 'refused');
    return (!refused || this.request.skipRefused) && groups.some(({ report }) => report.outcome === 'planned');
  }

  /** @returns whether it came to its end. */
  async #translate(plan: Plan): Promise<boolean> {
    const { request, systems, signal } = this;
    try {
      await translate(systems, request.selection, plan, {
        signal,
        onProgress: ({ done, of }) => {
          this.#progress.show(`${count(done)} of ${plural(of, 'partition')} translated`);
        },
      });
      return true;
    } catch (error) {
      if (!signal.aborted) throw error;
      leaveOut(plan, 'not-reached');
      return false;
    } finally {
      this.#progress.clear();
    }
  }

  /**
   * Asks a person, where there is one, before more is written than what was typed. Without a terminal nobody is asked:
   * scripts run the command as it is in the playbook, it writes to groups without members alone, and never skips a
   * message.
   */
  async #confirmed({ groups }: Plan, said: (text: string) => void): Promise<boolean> {
    const { request, io } = this;
    if (request.yes || io.ask === undefined) return true;
    const planned = groups.filter(({ report }) => report.outcome === 'planned').map(({ report }) => report);
    const partitions = planned.flatMap((report) => report.partitions);
    const redelivering = partitions.filter(({ verdict }) => verdict === 'bounded').length;
    const replaced = partitions.filter(({ before, target }) => before !== undefined && before !== target).length;
    const live = planned.filter(({ sourceMembers }) => sourceMembers > 0).length;
    const left = groups.filter(({ report }) => report.outcome === 'refused').length;
    const doubts = [
      ...(redelivering === 0 ? [] : [`messages of ${plural(redelivering, 'partition')} come again`]),
      ...(replaced === 0
        ? []
        : [`positions that the target has of ${plural(replaced, 'partition')} are replaced by others`]),
      ...(live === 0 ? [] : [`consumers of ${plural(live, 'group')} still run at the source`]),
      ...(left === 0 ? [] : [`refused, and left out: ${plural(left, 'group')}`]),
    ];
    if (doubts.length === 0) return true;
    said(`\nBefore anything is written:\n${doubts.map((doubt) => `  - ${doubt}\n`).join('')}`);
    const answer = await io.ask(
      `Import ${plural(planned.length, 'group')}? Type yes to go on, anything else to leave it: `,
    );
    return answer.trim().toLowerCase() === 'yes';
  }

  async #end(plan: Plan, exitCode: ExitCode, failure?: string): Promise<ExitCode> {
    const { request, io } = this;
    const report = this.#report(plan, exitCode, failure);
    if (request.output === 'json') io.out(`${JSON.stringify(report, undefined, 2)}\n`);
    else io.out(`${outcomeLines(report).map(printable).join('\n')}\n`);
    if (exitCode === EXIT.interrupted) io.err('Ended by Ctrl-C.\n');
    try {
      await this.#write(report);
    } catch (error) {
      // Not a wrong input any more: groups may have been imported.
      throw new CliError(EXIT.refused, `${failureOf(error).message}. What was done is shown above.`, { cause: error });
    }
    return exitCode;
  }

  #report({ groups, notes }: Plan, exitCode: ExitCode, failure?: string): MigrationReport {
    const { selection, dryRun } = this.request;
    return {
      version: 1,
      direction: selection.to === 'owlmq' ? 'kafka-to-owlmq' : 'owlmq-to-kafka',
      dryRun,
      startedAt: this.#startedAt,
      endedAt: new Date().toISOString(),
      kafka: this.where.connection.brokers,
      owlmq: new URL(this.where.url).origin,
      exitCode,
      notes: [...notes],
      ...(failure === undefined ? {} : { failure }),
      groups: groups.map(({ report }) => report),
    };
  }

  async #write(report: MigrationReport): Promise<void> {
    if (this.request.reportFile !== undefined) await writeReport(this.request.reportFile, report);
  }
}

/** Says of what fails before the import that nothing was written. */
async function nothingWritten<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const { exitCode, message } = failureOf(error);
    if (exitCode === EXIT.unexpected) throw error;
    throw new CliError(exitCode, `${message.replace(/\.?$/, '.')} Nothing was written.`, { cause: error });
  }
}

/** Nothing is written of those that could have been. */
function leaveOut({ groups }: Plan, outcome: 'held-back' | 'not-reached'): void {
  for (const { report } of groups) if (report.outcome === 'planned') report.outcome = outcome;
}

function exitCodeOf({ groups }: Plan, interrupted = false): ExitCode {
  const reports = groups.map(({ report }) => report);
  const done = reports.filter(({ outcome }) => outcome === 'planned' || outcome === 'imported');
  if (interrupted && reports.some(({ outcome }) => outcome === 'not-reached')) return EXIT.interrupted;
  if (reports.some(({ outcome }) => outcome === 'refused' || outcome === 'failed')) return EXIT.refused;
  // Silence is not success.
  if (done.length === 0) return EXIT.refused;
  const notExact = done.some(
    ({ sourceMembers, partitions }) => sourceMembers > 0 || partitions.some(({ verdict }) => verdict !== 'exact'),
  );
  return notExact ? EXIT.differences : EXIT.ok;
}
