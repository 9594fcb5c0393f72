import { inspect } from 'node:util';
import { rootMessages, withCauses } from '../async/causes.js';
import {
  AuditCheckpointError,
  AuditPartitionsError,
  AuditPositionLostError,
  AuditRepairError,
  LogReadStalledError,
} from '../audit/audit-errors.js';
import { NoOwlmqError, PrefixTakenError } from '../contract-check/recognise.js';
import { KafkaGroupNotEmptyError, KafkaOffsetsNotTakenError, OffsetReadBackError } from '../kafka/cluster-admin.js';
import { LogUnavailableError, OffsetOutOfRangeError, UnknownTopicError } from '../kafka/log-reader.js';
import { isKafkaClientError } from '../kafka/client-errors.js';
import { KafkaConnectError } from '../kafka/replaceable-producer.js';
import { RosterUnavailableError } from '../members/member-roster.js';
import { OwlmqConfigError, OwlmqError, OwlmqNotFoundError, OwlmqUnauthorizedError } from '../owlmq/owlmq-errors.js';
import { EpochSupersededError } from '../routing/routing-errors.js';
import { CliError } from './cli-error.js';
import { EXIT, type ExitCode } from './exit-codes.js';

type ErrorClass = abstract new (...args: never[]) => Error;

/** The first of these that an error, or one of its causes, is an instance of decides. */
const known: readonly [ErrorClass, ExitCode][] = [
  [AuditCheckpointError, EXIT.input],
  [AuditPositionLostError, EXIT.refused],
  [AuditPartitionsError, EXIT.refused],
  [AuditRepairError, EXIT.refused],
  [LogReadStalledError, EXIT.refused],
  [EpochSupersededError, EXIT.refused],
  [UnknownTopicError, EXIT.refused],
  [OffsetOutOfRangeError, EXIT.refused],
  [OwlmqNotFoundError, EXIT.refused],
  [PrefixTakenError, EXIT.refused],
  [KafkaGroupNotEmptyError, EXIT.refused],
  [KafkaOffsetsNotTakenError, EXIT.refused],
  [OffsetReadBackError, EXIT.refused],
  [NoOwlmqError, EXIT.unreachable],
  [OwlmqConfigError, EXIT.input],
  [OwlmqError, EXIT.unreachable],
  [LogUnavailableError, EXIT.unreachable],
  [KafkaConnectError, EXIT.unreachable],
  [RosterUnavailableError, EXIT.unreachable],
];

/** What a person is told about a failure, and the exit code for it. */
export function failureOf(error: unknown): { exitCode: ExitCode; message: string } {
  if (error instanceof CliError) return { exitCode: error.exitCode, message: error.message };
  const chain = [...withCauses(error)];
  for (const [kind, exitCode] of known) {
    const found = chain.find((one) => one instanceof kind);
    if (found !== undefined) return { exitCode, message: `${messageOf(error, found)}${hint(found)}` };
  }
  if (chain.some(isKafkaClientError)) {
    return { exitCode: EXIT.unreachable, message: `Kafka: ${rootMessages(error).join('; ')}` };
  }
  return {
    exitCode: EXIT.unexpected,
    message: error instanceof Error ? (error.stack ?? error.message) : inspect(error),
  };
}

function messageOf(error: unknown, found: Error): string {
  // Of several partitions that failed the message names each.
  return error instanceof AggregateError && error.message !== '' ? error.message : found.message;
}

function hint(error: Error): string {
  return error instanceof OwlmqUnauthorizedError ? '. Check OWLMQ_API_KEY, and what the key may do.' : '';
}
