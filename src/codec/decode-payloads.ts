import type { Payload, PayloadCodec } from '@temporalio/common';

/**
 * Decodes every payload that is anywhere in what Temporal's API answers, such as the events of a history, in place.
 *
 * @throws what the codec throws: `UnknownPayloadKeyError`, `PayloadTamperedError`.
 */
export async function decodePayloads(value: unknown, codec: PayloadCodec): Promise<void> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
  for (const [name, of] of Object.entries(value)) {
    if (isPayload(of)) {
      const [decoded] = await codec.decode([of]);
      (value as Record<string, unknown>)[name] = decoded;
    } else await decodePayloads(of, codec);
  }
}

function isPayload(value: unknown): value is Payload {
  return typeof value === 'object' && value !== null && 'data' in value && 'metadata' in value;
}
