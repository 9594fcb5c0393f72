import { onTestFinished } from 'vitest';
import {
  ClusterAdmin,
  LogReader,
  MemberRoster,
  RoutingWriter,
  type KafkaConnection,
} from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from '../../src/activities/dependencies.js';

/** A worker's own connections to Kafka, until the test that runs is over. */
export async function workerConnections(
  connection: KafkaConnection,
  clientId: string,
): Promise<Pick<Dependencies, 'kafka' | 'admin' | 'reader' | 'routing' | 'roster' | 'temporal'>> {
  const roster = new MemberRoster({ connection, clientId });
  await roster.start();
  const [admin, reader, routing] = [
    new ClusterAdmin(connection, { clientId }),
    new LogReader(connection, { clientId }),
    new RoutingWriter({ connection, clientId }),
  ];
  onTestFinished(async () => {
    await Promise.all([roster.stop(), admin.close(), reader.close(), routing.close()]);
  });
  return {
    kafka: connection,
    admin,
    reader,
    routing,
    roster,
    temporal: () => Promise.resolve({ namespace: 'default', searchAttributes: [], retentionMs: undefined }),
  };
}
