import { secretFromSettings } from '@owlmq/kafka-bridge/operations';

/** Keys of payloads, by their ids. The first one encrypts; each of them decrypts what was encrypted with it. */
export type PayloadKeys = ReadonlyMap<string, Buffer>;

const VARIABLE = 'TEMPORAL_PAYLOAD_KEYS';
const KEY_BYTES = 32;
const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/;
/** Base64 of 32 bytes. */
const KEY = /^[A-Za-z0-9+/]{43}=$/;

/**
 * Reads TEMPORAL_PAYLOAD_KEYS, or the file that TEMPORAL_PAYLOAD_KEYS_FILE names: `ID=BASE64`, set apart by commas or
 * lines, the newest first.
 *
 * @returns undefined when neither is set.
 */
export function readPayloadKeys(given: NodeJS.ProcessEnv, add: (problem: string) => void): PayloadKeys | undefined {
  const text = secretFromSettings(given, VARIABLE, { add });
  if (text === undefined) return undefined;
  const keys = new Map<string, Buffer>();
  for (const [index, entry] of text
    .split(/[\s,]+/)
    .filter(Boolean)
    .entries()) {
    const [, id = '', key = ''] = /^([^=]*)=(.*)$/.exec(entry) ?? [];
    // What is told never has the key in it.
    const which = `${VARIABLE}: entry ${index + 1}`;
    // A key alone, whose padding would make an id of it.
    const alone = /^=?$/.test(key);
    if (!KEY_ID.test(id) || alone) add(`${which} has no id: write ID=KEY, the id of up to 64 letters, digits and ._-`);
    else if (!KEY.test(key)) add(`${which} (${id}) is no key: write ${KEY_BYTES} random bytes in base64 behind the =`);
    else if (keys.has(id)) add(`${which} (${id}): there is a key of that id already`);
    else keys.set(id, Buffer.from(key, 'base64'));
  }
  if (keys.size === 0) add(`${VARIABLE} has no key`);
  return keys;
}
