import type { ReplaceableProducer } from './replaceable-producer.js';

/** Well below what a broker takes by default, also where text is not ASCII. */
const MAX_REQUEST_CHARS = 250_000;

/**
 * Writes records of a compacted topic with one partition, in order, in requests that a broker does not refuse for their
 * size.
 *
 * @param timeoutMs bound on one request.
 */
export async function sendKeyed(
  producer: ReplaceableProducer,
  topic: string,
  records: readonly { key: string; value: string }[],
  timeoutMs: number,
): Promise<void> {
  for (const messages of requests(records)) {
    await producer.sendBatch({ topicMessages: [{ topic, messages }] }, timeoutMs);
  }
}

function* requests(
  records: readonly { key: string; value: string }[],
): Generator<{ key: string; value: string; partition: number }[]> {
  let messages: { key: string; value: string; partition: number }[] = [];
  let chars = 0;
  for (const { key, value } of records) {
    if (messages.length > 0 && chars + value.length > MAX_REQUEST_CHARS) {
      yield messages;
      messages = [];
      chars = 0;
    }
    messages.push({ key, value, partition: 0 });
    chars += value.length;
  }
  if (messages.length > 0) yield messages;
}
