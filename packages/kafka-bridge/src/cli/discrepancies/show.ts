import type { Command } from 'commander';
import { acknowledgeCommand } from '../../comparator/next-commands.js';
import type { DiscrepancySample } from '../../comparator/samples.js';
import { decodeObservation, OBSERVATIONS_TOPIC, type Observation } from '../../consumer/observation.js';
import { differingFields, unpackFields } from '../../consumer/field-digests.js';
import { LogReader, UnknownTopicError } from '../../kafka/log-reader.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { reachKafka } from '../reach-kafka.js';
import { textTable } from '../text-table.js';
import { printable } from '../words.js';
import { readMigration, standingFindings } from './findings.js';

/** A sample with what each side observed; undefined where that is not in the log, or not any more. */
interface Shown {
  group: string;
  sample: DiscrepancySample;
  live: Observation | undefined;
  shadow: Observation | undefined;
  /** Sides that the sample says have observed it, and whose observation is gone. */
  gone: ('live' | 'shadow')[];
  acknowledge: string;
}

/** What `discrepancies show` does. */
export async function show(command: Command, id: string, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const output = readOutput(command, inputs);
  const connection = readKafka(command, inputs);
  const { migration, group } = readMigration(command, inputs);
  inputs.settle();
  if (connection === undefined) return EXIT.input;
  const values = command.opts<{ values?: boolean }>().values === true;

  await reachKafka(connection, io);
  const reader = new LogReader(connection, { clientId: 'kafka-bridge', maxWaitMs: 500 });
  try {
    const { groups } = await standingFindings({ connection, reader, io }, migration, group);
    const samples = groups.flatMap((of) =>
      of.samples.flatMap((sample) => (sample.id === id ? [{ group: of.group, sample }] : [])),
    );
    if (samples.length === 0) throw noSuchId(migration, id, groups.flatMap((of) => of.samples).length);
    const shown: Shown[] = [];
    for (const one of samples) shown.push(await observed(reader, migration, one.group, one.sample));
    const told = shown.map((one) => ({ ...one, live: toldOf(one.live, values), shadow: toldOf(one.shadow, values) }));
    if (output === 'json') io.out(`${JSON.stringify({ migration, id, samples: told }, undefined, 2)}\n`);
    else io.out(`${shown.flatMap((one) => wordsOf(one, values)).join('\n')}\n`);
    return shown.some(({ gone }) => gone.length > 0) ? EXIT.differences : EXIT.ok;
  } finally {
    await reader.close();
  }
}

function noSuchId(migration: string, id: string, count: number): CliError {
  const kept =
    count === 0
      ? 'There is no sample at all.'
      : 'Kept are the newest five of each verdict and group, and part of the comparison.';
  return new CliError(
    EXIT.refused,
    `No discrepancy of message "${printable(id)}" is among the samples of ${migration}. ${kept} ` +
      `See which there are: kafka-bridge discrepancies list --migration ${migration}`,
  );
}

async function observed(
  reader: LogReader,
  migration: string,
  group: string,
  sample: DiscrepancySample,
): Promise<Shown> {
  const { log } = sample;
  const read = async (side: 'live' | 'shadow'): Promise<Observation | undefined> => {
    const offset = log?.[side];
    if (log === undefined || offset === undefined) return undefined;
    const found = await observationAt(reader, log.partition, offset);
    // Where the topic was made anew, another one is there.
    const same = found?.migration === migration && found.group === group && found.side === side;
    return same && found.id === sample.id ? found : undefined;
  };
  const [live, shadow] = [await read('live'), await read('shadow')];
  const gone = (['live', 'shadow'] as const).filter(
    (side) => log?.[side] !== undefined && (side === 'live' ? live : shadow) === undefined,
  );
  return { group, sample, live, shadow, gone, acknowledge: acknowledgeCommand(migration, group, sample) };
}

async function observationAt(reader: LogReader, partition: number, offset: number): Promise<Observation | undefined> {
  try {
    const record = await reader.recordAt(OBSERVATIONS_TOPIC, { partition, offset });
    return record === undefined ? undefined : decodeObservation(record.value);
  } catch (error) {
    if (error instanceof UnknownTopicError) return undefined;
    throw error;
  }
}

/** As JSON tells it: fields by their pointers; values only where they are asked for. */
function toldOf(observation: Observation | undefined, values: boolean): object | undefined {
  if (observation?.output === undefined) return observation;
  const { captured, fields, ...output } = observation.output;
  const kept = values && captured !== undefined ? { captured } : {};
  return { ...observation, output: { ...output, fields: unpackFields(fields), ...kept } };
}

function wordsOf({ group, sample, live, shadow, gone, acknowledge }: Shown, values: boolean): string[] {
  const { verdict, id, topic, partition, kafka, owlmq, fields, error, log } = sample;
  const at = [`Kafka offset ${kafka}`, ...(owlmq === undefined ? [] : [`OwlMQ offset ${owlmq}`])];
  const where = error ?? fields?.join(', ') ?? '';
  const rows = [
    ['Kafka offset', live?.kafka, shadow?.kafka],
    ['OwlMQ offset', live?.owlmq, shadow?.owlmq],
    ['message time', timeOf(live), timeOf(shadow)],
    ['epoch', live?.epoch, shadow?.epoch],
    ['handler version', live?.handlerVersion, shadow?.handlerVersion],
    ['digest of the key', live?.key, shadow?.key],
    ['error', errorOf(live), errorOf(shadow)],
    ['digest of the output', live?.output?.digest.slice(0, 10), shadow?.output?.digest.slice(0, 10)],
    ...fieldRows(live, shadow),
    ['observations topic', placeOf(log, 'live'), placeOf(log, 'shadow')],
  ] as const;
  const cells = rows
    .filter(([, ofLive, ofShadow]) => ofLive !== undefined || ofShadow !== undefined)
    .map((row) => row.map((cell) => printable(String(cell ?? '-'))));
  return [
    `Group ${group}: ${verdict}${where === '' ? '' : ` (${printable(where)})`}, message ${printable(id)} of ${topic}/${partition}, ${at.join(', ')}.`,
    '',
    ...textTable(['', 'LIVE', 'SHADOW'], cells),
    ...gone.map((side) => `The observation of the ${side} side is not in ${OBSERVATIONS_TOPIC} any more.`),
    ...(log === undefined ? ['Where its observations are was not kept by the version that compared them.'] : []),
    ...capturedLines(live, shadow, values),
    '',
    'If this kind of discrepancy is all right, and only then, say why and who says so:',
    `  ${printable(acknowledge)}`,
    '',
  ];
}

function fieldRows(
  live: Observation | undefined,
  shadow: Observation | undefined,
): [string, string | undefined, string | undefined][] {
  if (live?.output === undefined || shadow?.output === undefined) return [];
  const [ofLive, ofShadow] = [unpackFields(live.output.fields), unpackFields(shadow.output.fields)];
  return differingFields(ofLive, ofShadow).map((pointer) => [
    pointer === '' ? '(the whole)' : pointer,
    ofLive[pointer],
    ofShadow[pointer],
  ]);
}

function capturedLines(live: Observation | undefined, shadow: Observation | undefined, values: boolean): string[] {
  const sides = [
    ['live', live],
    ['shadow', shadow],
  ] as const;
  const captured = sides.some(([, of]) => of?.output?.captured !== undefined);
  if (!values) return captured ? ['The service captures its outputs: --values shows them.'] : [];
  if (!captured) return ['No outputs are captured: the service writes digests only. See `capture` of DualConsumer.'];
  return sides.flatMap(([side, of]) => {
    const output = of?.output?.captured;
    if (output === undefined) return [`Output of the ${side} side: not captured.`];
    const cut = output.text.length < output.length ? ` (the first ${output.text.length} of ${output.length})` : '';
    return [`Output of the ${side} side${cut}:`, `  ${printable(output.text)}`];
  });
}

function timeOf(observation: Observation | undefined): string | undefined {
  return observation === undefined ? undefined : new Date(observation.time).toISOString();
}

function errorOf(observation: Observation | undefined): string | undefined {
  const error = observation?.error;
  if (error === undefined) return undefined;
  return `${error.name}, digest of its message ${error.digest}${error.uncomparable === true ? ', cannot be compared' : ''}`;
}

function placeOf(log: DiscrepancySample['log'], side: 'live' | 'shadow'): string | undefined {
  const offset = log?.[side];
  return log === undefined || offset === undefined ? undefined : `partition ${log.partition}, offset ${offset}`;
}
