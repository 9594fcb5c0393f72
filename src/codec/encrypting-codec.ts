import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import type { PayloadKeys } from './payload-keys.js';

/** Payloads in protobuf's encoding. */
const encoded = proto.temporal.api.common.v1.Payload;

const ALGORITHM = 'aes-256-gcm';
const ENCODING = 'binary/encrypted';
/** Of GCM: a nonce that is drawn for each payload, and the tag that proves it. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const METADATA = { encoding: 'encoding', keyId: 'encryption-key-id' } as const;

/** A payload that was encrypted with a key that is not among those given. */
export class UnknownPayloadKeyError extends Error {
  override readonly name = 'UnknownPayloadKeyError';
  constructor(readonly keyId: string) {
    super(
      `A payload is encrypted with the key "${keyId}", which is not among TEMPORAL_PAYLOAD_KEYS: keep a key until every run that began with it is gone.`,
    );
  }
}

/** A payload that was changed since it was encrypted, or encrypted with another key of the same id. */
export class PayloadTamperedError extends Error {
  override readonly name = 'PayloadTamperedError';
}

/**
 * Encrypts what Temporal keeps: inputs, results, heartbeats, signals, queries, memos, summaries, and, with the failure
 * converter beside it, failures. What is not encrypted is taken as it is, so that runs which began without keys go on.
 */
export class EncryptingCodec implements PayloadCodec {
  readonly #keys: PayloadKeys;
  readonly #newest: readonly [string, Buffer];

  /** @throws {TypeError} without a key. */
  constructor(keys: PayloadKeys) {
    const [newest] = keys;
    if (newest === undefined) throw new TypeError('there is no key');
    this.#keys = keys;
    this.#newest = newest;
  }

  encode(payloads: Payload[]): Promise<Payload[]> {
    return Promise.resolve(payloads.map((payload) => this.#encrypt(payload)));
  }

  /**
   * @throws {UnknownPayloadKeyError}
   * @throws {PayloadTamperedError}
   */
  decode(payloads: Payload[]): Promise<Payload[]> {
    return new Promise((resolve) => {
      resolve(payloads.map((payload) => this.#decrypt(payload)));
    });
  }

  #encrypt(payload: Payload): Payload {
    const [id, key] = this.#newest;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce);
    const plain = encoded.encode(payload).finish();
    const data = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    return { metadata: { [METADATA.encoding]: Buffer.from(ENCODING), [METADATA.keyId]: Buffer.from(id) }, data };
  }

  #decrypt(payload: Payload): Payload {
    const { metadata = {}, data } = payload;
    if (textOf(metadata?.[METADATA.encoding]) !== ENCODING || data == null) return payload;
    const id = textOf(metadata?.[METADATA.keyId]) ?? '';
    const key = this.#keys.get(id);
    if (key === undefined) throw new UnknownPayloadKeyError(id);
    try {
      const bytes = Buffer.from(data);
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new RangeError(`${bytes.length} bytes are too few`);
      const options = { authTagLength: TAG_BYTES };
      const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES), options);
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const sealed = bytes.subarray(NONCE_BYTES, -TAG_BYTES);
      return encoded.decode(Buffer.concat([decipher.update(sealed), decipher.final()]));
    } catch (error) {
      throw new PayloadTamperedError(`A payload cannot be decrypted with the key "${id}".`, { cause: error });
    }
  }
}

function textOf(bytes: Uint8Array | null | undefined): string | undefined {
  return bytes == null ? undefined : Buffer.from(bytes).toString();
}
