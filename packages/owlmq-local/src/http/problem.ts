import type { Contract } from '@owlmq/kafka-bridge/contract';

type ProblemType = Contract['ProblemType'];

const statusOf: Record<ProblemType, number> = {
  'invalid-request': 400,
  'malformed-records': 400,
  unauthorized: 401,
  'not-found': 404,
  'method-not-allowed': 405,
  'unknown-topic': 404,
  'unknown-partition': 404,
  'unknown-group': 404,
  'topic-exists': 409,
  'group-not-empty': 409,
  'stale-generation': 409,
  'too-large': 413,
  'unsupported-media-type': 415,
  'offset-out-of-range': 422,
  'key-blocked': 409,
  throttled: 429,
  internal: 500,
  unavailable: 503,
};

type Details = Omit<Contract['Problem'], 'type' | 'title' | 'status' | 'detail'>;

/** An error that is answered as RFC 9457 `application/problem+json`. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly problem: Contract['Problem'];

  constructor(type: ProblemType, detail: string, details: Details = {}, options?: ErrorOptions) {
    super(`${type}: ${detail}`, options);
    const title = type.charAt(0).toUpperCase() + type.slice(1).replaceAll('-', ' ');
    this.problem = { type, title, status: statusOf[type], detail, ...details };
  }
}
