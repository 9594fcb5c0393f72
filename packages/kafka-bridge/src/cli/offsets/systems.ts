import { kafkaGroups, owlmqGroups, type GroupStanding } from '../../groups/group-standing.js';
import { ClusterAdmin } from '../../kafka/cluster-admin.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import type { Leg } from '../../message/headers.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';

const CLIENT_ID = 'kafka-bridge';

/** Both legs, as the commands on offsets use them. */
export interface Systems {
  connection: KafkaConnection;
  admin: ClusterAdmin;
  reader: LogReader;
  owlmq: OwlmqClient;
}

/** Runs with access to both legs, and closes it. */
export async function withSystems<T>(
  connection: KafkaConnection,
  owlmqOptions: { url: string; apiKey: string },
  work: (systems: Systems) => Promise<T>,
): Promise<T> {
  const owlmq = new OwlmqClient(owlmqOptions);
  const admin = new ClusterAdmin(connection, { clientId: CLIENT_ID });
  const reader = new LogReader(connection, { clientId: CLIENT_ID });
  try {
    return await work({ connection, admin, reader, owlmq });
  } finally {
    await Promise.all([admin.close(), reader.close(), owlmq.close()]);
  }
}

/** Names of all groups of a leg. */
export async function groupNames({ admin, owlmq }: Systems, leg: Leg): Promise<string[]> {
  if (leg === 'owlmq') return await owlmq.listGroups();
  return (await admin.listGroups()).map(({ name }) => name);
}

/** Names of all topics of a leg. */
export async function topicNames({ admin, owlmq }: Systems, leg: Leg): Promise<string[]> {
  if (leg === 'kafka') return await admin.listTopics();
  return (await owlmq.listTopics()).map(({ name }) => name);
}

/** Where groups stand on a leg, by name. */
export async function standings(
  { admin, owlmq }: Systems,
  leg: Leg,
  groups: readonly string[],
): Promise<Map<string, GroupStanding>> {
  const found = leg === 'kafka' ? await kafkaGroups(admin, groups) : await owlmqGroups(owlmq, groups);
  return new Map(found.map((standing) => [standing.group, standing]));
}

/** Begin and end of each partition of a topic on a leg, by index. */
export async function boundsOf(
  { reader, owlmq }: Systems,
  leg: Leg,
  topic: string,
): Promise<{ beginOffset: number; endOffset: number }[]> {
  if (leg === 'kafka') return await reader.bounds(topic);
  const partitions = (await owlmq.describeTopic(topic))?.partitions ?? [];
  return [...partitions].sort((a, b) => a.partition - b.partition);
}
