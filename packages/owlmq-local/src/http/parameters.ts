import { requestSchemas } from '@owlmq/kafka-bridge/contract';
import type { FastifyReply } from 'fastify';
import { ProblemError } from './problem.js';

const patterns = {
  topic: new RegExp(requestSchemas.TopicName.pattern, 'u'),
  group: new RegExp(requestSchemas.GroupName.pattern, 'u'),
  memberId: new RegExp(requestSchemas.MemberId.pattern, 'u'),
};
const MAX_NAME = requestSchemas.TopicName.maxLength;

/**
 * A name from a path.
 *
 * @throws {ProblemError} `invalid-request`
 */
export function nameParameter(params: unknown, name: keyof typeof patterns): string {
  const value = String((params as Record<string, unknown>)[name]);
  if (value.length <= MAX_NAME && patterns[name].test(value)) return value;
  throw new ProblemError('invalid-request', `${JSON.stringify(value.slice(0, MAX_NAME))} cannot be a ${name}`);
}

/**
 * A whole number from a path or query.
 *
 * @throws {ProblemError} `invalid-request`
 */
export function integerParameter(values: unknown, name: string, fallback?: number): number {
  const text = (values as Record<string, unknown>)[name];
  if (text === undefined && fallback !== undefined) return fallback;
  const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new ProblemError('invalid-request', `${name} must be a whole number from 0 to 2^53 - 1`);
}

/** As `integerParameter`, from 1 on. */
export function countParameter(values: unknown, name: string, fallback: number): number {
  const value = integerParameter(values, name, fallback);
  if (value >= 1) return value;
  throw new ProblemError('invalid-request', `${name} must be 1 or more`);
}

/** A text from a query; empty when it is not there. */
export function textParameter(values: unknown, name: string): string {
  const text = (values as Record<string, unknown>)[name];
  if (text === undefined || typeof text === 'string') return text ?? '';
  throw new ProblemError('invalid-request', `${name} may be given once`);
}

/** Aborts when the client goes away before its answer is sent: nobody needs to wait any longer. */
export function goneSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    controller.abort();
  });
  return controller.signal;
}
