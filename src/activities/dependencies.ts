import type {
  ClusterAdmin,
  KafkaConnection,
  LogReader,
  MemberRoster,
  OwlmqApi,
  PairwiseCompare,
  RoutingWriter,
} from '@owlmq/kafka-bridge/operations';
import type { WebhookTargets } from '../webhook-targets.js';

/** The connections that a worker holds and its activities share. */
export interface Dependencies {
  kafka: KafkaConnection;
  admin: ClusterAdmin;
  reader: LogReader;
  routing: RoutingWriter;
  /** Follows the members for as long as the worker lives, so that it knows how long each has been silent. */
  roster: MemberRoster;
  owlmq: OwlmqApi;
  /** Whether captured outputs that differ mean the same. */
  compare?: PairwiseCompare | undefined;
  /** Receivers of hooks that this worker can call. */
  webhooks?: WebhookTargets | undefined;
  /** Names of the search attributes that the Temporal namespace knows. */
  searchAttributes: () => Promise<string[]>;
}
