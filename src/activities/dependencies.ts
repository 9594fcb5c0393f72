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

export interface TemporalNamespace {
  namespace: string;
  /** Names of the search attributes that it knows. */
  searchAttributes: string[];
  /** How long it keeps a run that has ended, ms; undefined where it does not say. */
  retentionMs: number | undefined;
}

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
  /** What the Temporal namespace is like. */
  temporal: () => Promise<TemporalNamespace>;
}
