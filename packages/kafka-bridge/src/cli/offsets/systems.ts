import type { GroupStanding } from '../../groups/group-standing.js';
import { ClusterAdmin } from '../../kafka/cluster-admin.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import type { Leg } from '../../message/headers.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import { partitionsInOrder } from '../../owlmq/partitions-in-order.js';
import { kafkaSide, owlmqSide, type Side } from '../../groups/sides.js';

const CLIENT_ID = 'kafka-bridge';

/** Both legs, as the commands on offsets use them. */
export interface Systems {
  connection: KafkaConnection;
  admin: ClusterAdmin;
  reader: LogReader;
  owlmq: OwlmqClient;
  /** What they tell of groups. */
  sides: Record<Leg, Side>;
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
    const sides = { kafka: kafkaSide(admin, reader), owlmq: owlmqSide(owlmq) };
    return await work({ connection, admin, reader, owlmq, sides });
  } finally {
    await Promise.all([admin.close(), reader.close(), owlmq.close()]);
  }
}

/** Where groups stand on a leg, by name. */
export async function standings(
  { sides }: Systems,
  leg: Leg,
  groups: readonly string[],
): Promise<Map<string, GroupStanding>> {
  const found = await sides[leg].standings(groups);
  return new Map(found.map((standing) => [standing.group, standing]));
}

/** Begin and end of each partition of a topic on a leg, by index. */
export async function boundsOf(
  { reader, owlmq }: Systems,
  leg: Leg,
  topic: string,
): Promise<{ beginOffset: number; endOffset: number }[]> {
  if (leg === 'kafka') return await reader.bounds(topic);
  return partitionsInOrder(await owlmq.describeTopic(topic));
}
