import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { DefaultLogger, type ActivityInterceptorsFactory, type LogLevel, type LogMetadata } from '@temporalio/worker';
import { pino, stdSerializers, type Level, type Logger } from 'pino';
import { PHASE_HEADER } from './workflows/phase-header.js';

/** The worker's log: a line of JSON each, on standard output. */
export function openWorkerLog(level: string): Logger {
  return pino({ name: 'worker', level, serializers: { error: stdSerializers.err } });
}

const levels: Record<LogLevel, Level> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
};

/** What Temporal's SDK, workflows and activities log, in the same lines: each names its migration alike. */
export function temporalLog(logger: Logger): DefaultLogger {
  return new DefaultLogger('INFO', ({ level, message, meta }) => {
    logger[levels[level]](namingMigration(meta ?? {}), message);
  });
}

/** A migration's name is the id of its workflow. Workflows name it themselves, with phase and epoch. */
function namingMigration({ workflowId, ...meta }: LogMetadata): Record<string, unknown> {
  return workflowId === undefined ? meta : { migration: workflowId, ...meta };
}

/** Puts the phase in which a step was asked for, and the epoch that it is about, into what it logs. */
export const stepInLogs: ActivityInterceptorsFactory = () => {
  let about: { phase?: string; epoch?: number } = {};
  return {
    inbound: {
      execute: (input, next) => {
        about = { ...phaseOf(input.headers[PHASE_HEADER]), ...epochOf(input.args[0]) };
        return next(input);
      },
    },
    outbound: { getLogAttributes: (input, next) => next({ ...input, ...about }) },
  };
};

/** Of a step that a worker of an earlier version has asked for there is none. */
function phaseOf(header: Payload | undefined): { phase?: string } {
  return header === undefined ? {} : { phase: defaultPayloadConverter.fromPayload<string>(header) };
}

function epochOf(request: unknown): { epoch?: number } {
  if (typeof request !== 'object' || request === null || !('epoch' in request)) return {};
  return typeof request.epoch === 'number' ? { epoch: request.epoch } : {};
}
