import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { OwlmqLocalConfigError } from './config-error.js';

/** Keys from OWLMQ_API_KEYS (comma list), OWLMQ_API_KEY, and a file with one key a line. */
export function loadApiKeys(env: NodeJS.ProcessEnv, file: string | undefined): string[] {
  const keys = [...(env['OWLMQ_API_KEYS'] ?? '').split(','), env['OWLMQ_API_KEY'] ?? ''];
  if (file !== undefined) {
    try {
      keys.push(...readFileSync(file, 'utf8').split('\n'));
    } catch (error) {
      throw new OwlmqLocalConfigError(`The file of API keys ${file} cannot be read`, { cause: error });
    }
  }
  return keys.map((key) => key.trim()).filter((key) => key !== '' && !key.startsWith('#'));
}

/** Compares bearer keys without telling by its time how near a guess was, or which key it was near to. */
export class ApiKeys {
  readonly #digests: Buffer[];

  /** @throws {OwlmqLocalConfigError} without a key. */
  constructor(keys: readonly string[]) {
    if (keys.length === 0) {
      throw new OwlmqLocalConfigError(
        'No API key: set OWLMQ_API_KEY (or OWLMQ_API_KEYS, a comma list, or name a file with --api-keys-file) to a key that clients must send',
      );
    }
    this.#digests = keys.map(digest);
  }

  accepts(authorization: string | undefined): boolean {
    const match = /^Bearer +(\S+) *$/i.exec(authorization ?? '');
    const given = digest(match?.[1] ?? '');
    // All keys are compared, always.
    const equal = this.#digests.map((known) => timingSafeEqual(known, given));
    return match !== null && equal.includes(true);
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
