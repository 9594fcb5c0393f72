/** What can be wrong with a request, and the status it is answered with. */
const statusOf = {
  'invalid-request': 400,
  unauthorized: 401,
  'not-found': 404,
  'unknown-migration': 404,
  'method-not-allowed': 405,
  'not-covered': 409,
  'unknown-epoch': 409,
  'stale-report': 409,
  'too-large': 413,
  'unsupported-media-type': 415,
  throttled: 429,
  internal: 500,
  unavailable: 503,
} as const;

type ProblemType = keyof typeof statusOf;

/** A part of a request that is wrong. */
export interface RequestProblem {
  /** JSON pointer into the body, or the name of a parameter. */
  at: string;
  problem: string;
}

const MAX_PROBLEMS = 50;

/** An error that is answered as RFC 9457 `application/problem+json`. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly status: number;

  constructor(
    readonly type: ProblemType,
    /** What is wrong and what to do. */
    readonly detail: string,
    readonly problems: readonly RequestProblem[] = [],
    options?: ErrorOptions,
  ) {
    super(`${type}: ${detail}`, options);
    this.status = statusOf[type];
  }

  get body(): string {
    const { type, status, detail, problems } = this;
    const title = type.charAt(0).toUpperCase() + type.slice(1).replaceAll('-', ' ');
    const told = problems.slice(0, MAX_PROBLEMS);
    return JSON.stringify({
      ...{ type, title, status, detail },
      ...(told.length === 0 ? {} : { problems: told, furtherProblems: problems.length - told.length }),
    });
  }
}
