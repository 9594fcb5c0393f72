import type { Command } from 'commander';
import type { Diagnosis } from '../../comparator/diagnosis.js';
import { diagnoseFindings, type DiagnosisReport } from '../../comparator/evidence.js';
import type { DiscrepancySample } from '../../comparator/samples.js';
import type { GroupVerdicts, MigrationVerdicts } from '../../comparator/verdict-record.js';
import { discrepancyVerdicts, type DiscrepancyVerdict } from '../../comparator/verdicts.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput, readOwlmqIfGiven } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { reachKafka } from '../reach-kafka.js';
import { listenToFleet } from '../routing/fleet.js';
import { withRoster, withRouting } from '../routing/open-routing.js';
import { textTable } from '../text-table.js';
import { ago, count, printable } from '../words.js';
import { discrepanciesOf, readMigration, standingFindings } from './findings.js';

const CLIENT_ID = 'kafka-bridge';

/** What `discrepancies list` does. */
export async function list(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const output = readOutput(command, inputs);
  const connection = readKafka(command, inputs);
  const owlmq = readOwlmqIfGiven(command, inputs, io);
  const { migration, group } = readMigration(command, inputs);
  const verdict = inputs.choice('--verdict', command.opts<{ verdict?: string }>().verdict, discrepancyVerdicts);
  inputs.settle();
  if (connection === undefined) return EXIT.input;

  await reachKafka(connection, io);
  const reader = new LogReader(connection, { clientId: CLIENT_ID, maxWaitMs: 500 });
  try {
    const standing = await standingFindings({ connection, reader, io }, migration, group);
    const wanted = verdict === undefined ? discrepancyVerdicts : [verdict];
    const found = ofVerdicts(standing, wanted);
    const diagnosis = await diagnosed({ connection, owlmq, migration, io }, standing, wanted);
    if (output === 'json') io.out(`${JSON.stringify({ migration, ...found, ...diagnosis }, undefined, 2)}\n`);
    else io.out(`${tableLines(migration, found, diagnosis).join('\n')}\n`);
    const any = found.groups.some((of) => discrepanciesOf(of, wanted) > 0);
    // Silence is not clean.
    const unknown = found.groups.some(({ missingParts, stalled }) => missingParts > 0 || stalled.length > 0);
    return any || unknown ? EXIT.differences : EXIT.ok;
  } finally {
    await reader.close();
  }
}

function ofVerdicts(found: MigrationVerdicts, verdicts: readonly DiscrepancyVerdict[]): MigrationVerdicts {
  const groups = found.groups.map((of) => ({
    ...of,
    samples: of.samples.filter(({ verdict }) => verdicts.includes(verdict)),
  }));
  return { ...found, groups };
}

/** A sample is looked at beside all others of its group, whatever verdicts are wanted. */
async function diagnosed(
  {
    connection,
    migration,
    io,
    ...given
  }: { connection: KafkaConnection; owlmq: { url: string; apiKey: string } | undefined; migration: string; io: CliIo },
  { groups }: MigrationVerdicts,
  verdicts: readonly DiscrepancyVerdict[],
): Promise<DiagnosisReport> {
  if (groups.every((of) => discrepanciesOf(of, verdicts) === 0)) return { diagnoses: [], notLooked: [] };
  const owlmq = given.owlmq === undefined ? undefined : new OwlmqClient(given.owlmq);
  try {
    return await withRouting(connection, (writer) =>
      withRoster(connection, io, async (roster) => {
        const fleet = roster === undefined ? undefined : await listenToFleet(roster, migration);
        const living = fleet?.filter(({ heard, report }) => heard && report.state !== 'left');
        const report = await diagnoseFindings(groups, {
          ...{ connection, clientId: CLIENT_ID, migration, owlmq, verdicts },
          members: living?.map((member) => member.report),
          routing: () => writer.read(migration),
        });
        const notLooked = [
          ...(owlmq === undefined ? ['Could not look at OwlMQ: neither --owlmq-url nor OWLMQ_URL is given.'] : []),
          ...(fleet === undefined ? ['Could not look at the members: their topic cannot be read.'] : []),
          ...report.notLooked,
        ];
        return { ...report, notLooked };
      }),
    );
  } finally {
    await owlmq?.close();
  }
}

function tableLines(migration: string, found: MigrationVerdicts, { diagnoses, notLooked }: DiagnosisReport): string[] {
  const samples = found.groups.flatMap((of) => of.samples.map((sample) => ({ group: of.group, sample })));
  return [
    `Migration ${migration}`,
    '',
    ...countLines(found.groups),
    ...found.groups.flatMap(({ stalled }) => stalled.map((why) => `  - ${why}`)),
    '',
    ...(samples.length === 0
      ? ['No discrepancy is sampled.']
      : ['Samples, the newest of each verdict and group:', ...sampleLines(samples)]),
    ...(diagnoses.length === 0 ? [] : ['', 'Diagnosis:', ...diagnoses.flatMap(diagnosisLines)]),
    ...(notLooked.length === 0 ? [] : ['', ...notLooked]),
  ];
}

function countLines(groups: readonly GroupVerdicts[]): string[] {
  const columns = [
    ['MATCHED', 'matched'],
    ['IGNORED', 'ignored'],
    ['DIFFERENT', 'different'],
    ['MISSING', 'missing'],
    ['UNEXPECTED', 'unexpected'],
    ['FAILED LIVE', 'failedLive'],
    ['FAILED SHADOW', 'failedShadow'],
    ['REORDERED', 'reordered'],
    ['LATE', 'late'],
    ['ACKNOWLEDGED', 'acknowledged'],
  ] as const;
  const rows = groups.map(({ group, counts, unmatched, comparedUpTo, at }) => [
    group,
    ...columns.map(([, verdict]) => count(counts[verdict])),
    count(unmatched),
    comparedUpTo === undefined ? '-' : new Date(comparedUpTo).toISOString(),
    ago(at),
  ]);
  return textTable(['GROUP', ...columns.map(([name]) => name), 'UNMATCHED', 'COMPARED UP TO', 'WRITTEN'], rows);
}

function sampleLines(samples: readonly { group: string; sample: DiscrepancySample }[]): string[] {
  const header = ['GROUP', 'VERDICT', 'MESSAGE', 'PARTITION', 'KAFKA', 'OWLMQ', 'EPOCH', 'HANDLERS', 'WHERE', 'TIME'];
  const rows = samples.map(({ group, sample }) => {
    const { verdict, id, topic, partition, kafka, owlmq, epoch, handlerVersion, fields, error, time } = sample;
    const versions = [handlerVersion?.live ?? '-', handlerVersion?.shadow ?? '-'];
    return [
      group,
      verdict,
      printable(id),
      `${topic}/${partition}`,
      String(kafka),
      owlmq === undefined ? '-' : String(owlmq),
      epoch === undefined ? '-' : String(epoch),
      handlerVersion === undefined ? '-' : printable(versions.join(' and ')),
      printable(error ?? ((fields?.join(' ') ?? '') || '-')),
      time === undefined ? '-' : new Date(time).toISOString(),
    ];
  });
  return textTable(header, rows);
}

function diagnosisLines({ group, verdicts, what, evidence, todo, next }: Diagnosis): string[] {
  return [
    `  ${group}, ${verdicts.join(', ')}: ${printable(what)}`,
    ...evidence.map((seen) => `    - ${printable(seen)}`),
    `    ${printable(todo)}`,
    `    $ ${printable(next)}`,
  ];
}
