import { AuditPartitionsError } from '../../audit/audit-errors.js';
import type { LogReader } from '../../kafka/log-reader.js';
import type { OwlmqApi } from '../../owlmq/owlmq-api.js';
import { partitionsInOrder } from '../../owlmq/partitions-in-order.js';
import type { TopicOffsets } from '../../routing/routing-state.js';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import type { Inputs } from '../inputs.js';
import { readPositions, type StartPositions } from './checkpoint-file.js';

/** Where an audit begins. */
export type Start =
  { kind: 'beginning' | 'end' } | { kind: 'time'; time: number } | { kind: 'coverage' | 'checkpoint'; file: string };

/** A file is a word of its own, or behind a colon where the whole is one word, as in a variable. */
const FILE_START = /^(coverage|checkpoint)[ :](.+)$/s;

/** Reads `--from`. */
export function readStart(words: readonly string[] | undefined, inputs: Inputs): Start {
  const text = words?.join(' ').trim() ?? 'beginning';
  if (text === 'beginning' || text === 'end') return { kind: text };
  const [, kind, file] = FILE_START.exec(text) ?? [];
  if ((kind === 'coverage' || kind === 'checkpoint') && file !== undefined) return { kind, file };
  const time = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(time)) return { kind: 'time', time };
  inputs.add(`--from is beginning, end, an ISO time, coverage FILE or checkpoint FILE; "${text}" is none of them`);
  return { kind: 'beginning' };
}

/**
 * How far Kafka is read from before a time, when both legs are: a copy that was held may lie before the time, and one
 * that is not found would be taken for missing. Copies of earlier OwlMQ records are left aside by the audit.
 */
const TIME_MARGIN_MS = 10 * 60_000;

/**
 * Positions of every partition of the topics, on both legs where `both` are audited.
 *
 * @throws {AuditPartitionsError} when the legs do not have the same topics with the same partitions.
 */
export async function startPositions(
  start: Start,
  topics: readonly string[],
  both: boolean,
  { reader, owlmq }: { reader: LogReader; owlmq: OwlmqApi },
): Promise<StartPositions> {
  const kafka: TopicOffsets = {};
  const onOwlmq: TopicOffsets = {};
  const given = start.kind === 'coverage' ? await readPositions(start.file) : undefined;
  for (const topic of topics) {
    const bounds = await reader.bounds(topic);
    const described = await owlmq.describeTopic(topic);
    if (described?.partitions.length !== bounds.length) {
      throw new AuditPartitionsError('owlmq', topic, bounds.length, described?.partitions.length);
    }
    const partitions = partitionsInOrder(described);
    switch (start.kind) {
      case 'end':
        kafka[topic] = bounds.map(({ endOffset }) => endOffset);
        onOwlmq[topic] = partitions.map(({ endOffset }) => endOffset);
        break;
      case 'time':
        kafka[topic] = await reader.offsetsForTime(topic, start.time - (both ? TIME_MARGIN_MS : 0));
        onOwlmq[topic] = await owlmq.offsetsForTime(topic, start.time);
        break;
      case 'coverage':
        kafka[topic] = given?.kafka[topic] ?? notIn(topic, 'Kafka', start.file);
        if (both) onOwlmq[topic] = given?.owlmq?.[topic] ?? notIn(topic, 'OwlMQ', start.file);
        break;
      case 'beginning':
      case 'checkpoint':
        kafka[topic] = bounds.map(({ beginOffset }) => beginOffset);
        onOwlmq[topic] = partitions.map(({ beginOffset }) => beginOffset);
    }
  }
  return both ? { kafka, owlmq: onOwlmq } : { kafka };
}

function notIn(topic: string, leg: string, file: string): never {
  throw new CliError(EXIT.input, `${file} has no positions of topic ${topic} on ${leg}.`);
}
