import type { LiveProblem } from '@owlmq/kafka-bridge/live-view';

const statusOf = {
  'invalid-request': 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  'unknown-migration': 404,
  refused: 409,
  throttled: 429,
  internal: 500,
  unavailable: 503,
} as const;

/** An error that a caller of the live page is told of. */
export class PageProblem extends Error {
  override readonly name = 'PageProblem';
  readonly status: number;

  constructor(
    readonly type: keyof typeof statusOf,
    /** What is wrong and what to do. */
    readonly detail: string,
    options?: ErrorOptions,
  ) {
    super(`${type}: ${detail}`, options);
    this.status = statusOf[type];
  }

  get body(): LiveProblem {
    return { type: this.type, detail: this.detail };
  }
}
