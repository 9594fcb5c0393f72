import { createHmac } from 'node:crypto';
import { canonicalText, toCanonicalTree, withoutPath, type CanonicalTree } from './canonical-output.js';
import { digestFields } from './field-digests.js';
import { parsePointer } from './json-pointer.js';

/** What is told of an output: enough to say that two differ and where; what they hold only when it is captured. */
export interface OutputDigest {
  /** HMAC-SHA256 of the canonical output without the ignored parts, base64url. */
  digest: string;
  /** The same with the ignored parts; equal to `digest` when nothing is ignored. */
  whole: string;
  /** Short digests of parts of the output by JSON pointer, see `digestFields`. */
  fields: Record<string, string>;
  /** True when some of `fields` stand for more than one leaf. */
  truncated: boolean;
  /** The canonical output with the ignored parts, when it is captured. */
  captured?: CapturedOutput;
}

/** A canonical output in clear. */
export interface CapturedOutput {
  /** The first `MAX_CAPTURED_CHARS` characters of the canonical JSON. */
  text: string;
  /** Characters of the whole. */
  length: number;
}

export interface OutputDigesterOptions {
  migration: string;
  digestKey?: string;
  /** JSON pointers (RFC 6901) of parts that may differ; `*` means each item or property. */
  ignore?: readonly string[];
  /** Whether the output itself is told as well. */
  capture?: boolean;
}

const SHORT_DIGEST_CHARS = 10;
const MAX_CAPTURED_CHARS = 8_192;

/**
 * Digests handler outputs in their canonical form (`toCanonicalTree`, RFC 8785). The key of the HMAC keeps short and
 * guessable outputs from being read back out of their digests, and digests of two migrations from being set side by side.
 */
export class OutputDigester {
  readonly #key: Buffer;
  readonly #ignore: string[][];
  readonly #capture: boolean;

  /** @throws {TypeError} when something in `ignore` is not a JSON pointer. */
  constructor(options: OutputDigesterOptions) {
    this.#key = createHmac('sha256', options.digestKey ?? '')
      .update(`owlmq-bridge observations of ${options.migration}`)
      .digest();
    this.#ignore = (options.ignore ?? []).map(parsePointer);
    this.#capture = options.capture ?? false;
  }

  /** @throws {UncomparableOutputError} */
  digest(output: unknown): OutputDigest {
    const tree = toCanonicalTree(output);
    const text = canonicalText(tree);
    const whole = this.#hmac(text);
    const kept = this.#ignore.reduce<CanonicalTree | undefined>(withoutPath, tree);
    return {
      digest: this.#ignore.length === 0 ? whole : this.#hmac(kept === undefined ? '' : canonicalText(kept)),
      whole,
      ...(kept === undefined ? { fields: {}, truncated: false } : digestFields(kept, (part) => this.short(part))),
      ...(this.#capture ? { captured: { text: text.slice(0, MAX_CAPTURED_CHARS), length: text.length } } : {}),
    };
  }

  /** Short digest of a text, for telling keys and messages of errors apart. */
  short(text: string | Buffer): string {
    return this.#hmac(text).slice(0, SHORT_DIGEST_CHARS);
  }

  #hmac(text: string | Buffer): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url');
  }
}
