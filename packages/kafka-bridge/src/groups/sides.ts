import { kafkaGroups, owlmqGroups, type GroupStanding } from './group-standing.js';
import type { ClusterAdmin } from '../kafka/cluster-admin.js';
import { UnknownTopicError, type LogReader } from '../kafka/log-reader.js';
import type { Leg } from '../message/headers.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { partitionsInOrder } from '../owlmq/partitions-in-order.js';

/** One side, as far as groups are asked for. */
export interface Side {
  readonly leg: Leg;
  groupNames(): Promise<string[]>;
  topicNames(): Promise<string[]>;
  /** Where groups stand, in the order given. `topics`: by name the number of partitions of those that matter. */
  standings(groups: readonly string[], topics?: Readonly<Record<string, number>>): Promise<GroupStanding[]>;
  /** Begin and end of each partition, by index; undefined when there is no such topic. */
  bounds(topic: string): Promise<{ beginOffset: number; endOffset: number }[] | undefined>;
}

export function kafkaSide(admin: ClusterAdmin, reader: LogReader): Side {
  return {
    leg: 'kafka',
    groupNames: async () => (await admin.listGroups()).map(({ name }) => name),
    topicNames: () => admin.listTopics(),
    standings: (groups, topics = {}) => kafkaGroups(admin, groups, { topics }),
    bounds: async (topic) => {
      try {
        return await reader.bounds(topic);
      } catch (error) {
        if (error instanceof UnknownTopicError) return undefined;
        throw error;
      }
    },
  };
}

export function owlmqSide(owlmq: OwlmqApi): Side {
  return {
    leg: 'owlmq',
    groupNames: () => owlmq.listGroups(),
    topicNames: async () => (await owlmq.listTopics()).map(({ name }) => name),
    standings: (groups) => owlmqGroups(owlmq, groups),
    bounds: async (topic) => {
      const described = await owlmq.describeTopic(topic);
      return described && partitionsInOrder(described);
    },
  };
}
