import type { KafkaOperation } from '../kafka/authorized-operations.js';
import { CANARY_TOPIC } from '../kafka/canary.js';
import { OBSERVATIONS_TOPIC } from '../consumer/observation.js';
import { MEMBERS_TOPIC } from '../members/member-report.js';
import { BRIDGE_PREFIX, bridgeTopicNames } from '../routing/bridge-topics.js';
import { ROUTING_TOPIC } from '../routing/routing-state.js';
import type { KafkaRole } from './kafka-roles.js';

/** An operation that a role needs on resources of one kind. Kafka implies Describe by Read and by Write. */
export interface NeededRight {
  operation: KafkaOperation;
  resource: 'topic' | 'group';
  /** As it is granted: names, or one prefix of names. */
  names: readonly string[];
  pattern: 'literal' | 'prefixed';
  /** What falls under a prefix and can be looked at. */
  covers: readonly string[];
  /** What for, as the end of a sentence. */
  why: string;
}

/** What the rights are for. */
export interface RightsRequest {
  topics: readonly string[];
  groups: readonly string[];
  /** Whether noise will be measured. */
  noise?: boolean;
}

/** Every right in Kafka that a role needs for a migration, and no other. */
export function neededRights(role: KafkaRole, request: RightsRequest): NeededRight[] {
  const { topics, groups, noise = false } = request;
  const shadows = noise ? groups.map((group) => `${group}.shadow`) : [];
  const rights: Record<KafkaRole, () => NeededRight[]> = {
    worker: () => [
      on('topic', topics, 'Read', 'to audit them, and to set positions on them'),
      on('topic', topics, 'Write', 'to give Kafka what only OwlMQ has, after the cutover'),
      on('topic', topics, 'DescribeConfigs', 'to look at retention, compaction and sizes'),
      on('group', groups, 'Read', 'to set their positions on the way back, and to take out members that died'),
      on('group', shadows, 'Describe', 'to see that nobody else uses them while noise is measured'),
      onBridge('Create', 'to make the topics of the bridge that are not there'),
      onBridge('Read', 'to know what the fleet obeys, does and finds'),
      onBridge('Write', 'to lead the fleet, and to keep what was found'),
    ],
    publisher: () => [
      on('topic', topics, 'Write', 'to publish'),
      on('topic', [ROUTING_TOPIC], 'Read', 'to know where to publish'),
      on('topic', [MEMBERS_TOPIC], 'Read', 'to see that the routing state is the newest'),
      on('topic', [MEMBERS_TOPIC], 'Write', 'to report to the migration'),
    ],
    consumer: () => [
      on('topic', topics, 'Read', 'to consume'),
      on('group', groups, 'Read', 'to join and to commit'),
      on('group', shadows, 'Read', 'to consume a second time while noise is measured'),
      on('topic', [ROUTING_TOPIC], 'Read', 'to know which side is live'),
      on('topic', [MEMBERS_TOPIC], 'Read', 'to see that the routing state is the newest'),
      on('topic', [MEMBERS_TOPIC], 'Write', 'to report to the migration'),
      on('topic', [OBSERVATIONS_TOPIC], 'Write', 'to say what its handlers did'),
    ],
  };
  return rights[role]().filter(({ names }) => names.length > 0);
}

function on(
  resource: NeededRight['resource'],
  names: readonly string[],
  operation: KafkaOperation,
  why: string,
): NeededRight {
  return { operation, resource, names, pattern: 'literal', covers: names, why };
}

function onBridge(operation: KafkaOperation, why: string): NeededRight {
  const covers = [...bridgeTopicNames, CANARY_TOPIC];
  return { operation, resource: 'topic', names: [BRIDGE_PREFIX], pattern: 'prefixed', covers, why };
}
