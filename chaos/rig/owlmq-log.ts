import type { OwlmqClient } from '@owlmq/kafka-bridge/operations';

type OwlmqStoredRecord = Awaited<ReturnType<OwlmqClient['read']>>['records'][number];

const PAGE = 1_000;

/** Every record of a partition of OwlMQ, from its begin to its end. */
export async function* owlmqLog(
  owlmq: OwlmqClient,
  topic: string,
  partition: number,
): AsyncGenerator<OwlmqStoredRecord> {
  for (let offset = 0, end = 1; offset < end;) {
    const { records, endOffset } = await owlmq.read(topic, partition, offset, { maxRecords: PAGE });
    yield* records;
    end = endOffset;
    offset = (records.at(-1)?.offset ?? end) + 1;
  }
}
