import { createHmac, hash, randomUUID, timingSafeEqual } from 'node:crypto';
import { Signer } from '@fastify/cookie';

const LASTS_MS = 12 * 3_600_000;

/** A login, as long as it lasts. */
export interface Session {
  /** What the cookie holds: signed, and nothing of the token. */
  cookie: string;
  /** What a page of this origin says with each request that changes something. */
  csrf: string;
  /** Unix time, ms. */
  until: number;
}

/**
 * Logins by token. Nothing of them is stored: workers with the same tokens know each other's, and a login ends with the
 * token by which its cookie was signed.
 */
export class Sessions {
  readonly #signer: Signer;

  constructor(private readonly tokens: readonly string[]) {
    // The key says nothing of the token.
    this.#signer = new Signer(tokens.map((token) => createHmac('sha256', token).update('live page').digest('hex')));
  }

  /** Whether it is one of the tokens, in a time that says nothing of them. */
  isToken(given: string): boolean {
    const digest = sha256(given);
    return this.tokens.reduce((found, token) => timingSafeEqual(sha256(token), digest) || found, false);
  }

  begin(): Session {
    const until = Date.now() + LASTS_MS;
    return this.#session(this.#signer.sign(`${until}.${randomUUID()}`), until);
  }

  /** The session of a cookie; undefined where it is none of ours, or is over. */
  of(cookie: string | undefined): Session | undefined {
    if (cookie === undefined) return undefined;
    const { valid, value } = this.#signer.unsign(cookie);
    const until = Number(value?.split('.', 1)[0]);
    return valid && until > Date.now() ? this.#session(cookie, until) : undefined;
  }

  /** Whether a page knows the session's word, which no page of another origin can read. */
  knows({ cookie }: Session, csrf: string | undefined): boolean {
    if (csrf === undefined) return false;
    const { valid, value } = this.#signer.unsign(csrf);
    return valid && value === csrfOf(cookie);
  }

  #session(cookie: string, until: number): Session {
    return { cookie, until, csrf: this.#signer.sign(csrfOf(cookie)) };
  }
}

function csrfOf(cookie: string): string {
  return `csrf.${sha256(cookie).toString('hex')}`;
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
