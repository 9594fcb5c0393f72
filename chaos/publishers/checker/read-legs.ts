import { LogReader, OwlmqClient } from '@owlmq/kafka-bridge/operations';
import { owlmqLog } from '../../rig/owlmq-log.js';
import { storedRecord, type StoredRecord } from './stored-record.js';

export interface ReadLegsOptions {
  readonly brokers: string[];
  readonly owlmqUrl: string;
  readonly apiKey: string;
  readonly topics: readonly string[];
}

/** All of a leg at the end, each partition in the order of its offsets. */
export interface Legs {
  kafka: StoredRecord[];
  owlmq: StoredRecord[];
}

/** Reads every partition of both legs from its begin to its end. */
export async function readLegs({ brokers, owlmqUrl, apiKey, topics }: ReadLegsOptions): Promise<Legs> {
  const reader = new LogReader({ brokers }, { clientId: 'chaos-checker' });
  const owlmq = new OwlmqClient({ url: owlmqUrl, apiKey });
  try {
    const legs: Legs = { kafka: [], owlmq: [] };
    for (const topic of topics) {
      for (let partition = 0; partition < (await reader.partitionCount(topic)); partition++) {
        for await (const record of kafkaRecords(reader, topic, partition)) legs.kafka.push(record);
        for await (const record of owlmqRecords(owlmq, topic, partition)) legs.owlmq.push(record);
      }
    }
    return legs;
  } finally {
    await Promise.all([reader.close(), owlmq.close()]);
  }
}

async function* kafkaRecords(reader: LogReader, topic: string, partition: number): AsyncGenerator<StoredRecord> {
  for await (const { offset, value, headers } of reader.readToEnd(topic, partition, 0)) {
    const flat = Object.entries(headers).map(([name, content]): [string, Buffer] => [
      name,
      Array.isArray(content) ? Buffer.concat(content) : content,
    ]);
    yield storedRecord({ leg: 'kafka', topic, partition, offset }, value, new Map(flat));
  }
}

async function* owlmqRecords(owlmq: OwlmqClient, topic: string, partition: number): AsyncGenerator<StoredRecord> {
  for await (const { offset, value, headers } of owlmqLog(owlmq, topic, partition)) {
    yield storedRecord({ leg: 'owlmq', topic, partition, offset }, value, new Map(headers));
  }
}
