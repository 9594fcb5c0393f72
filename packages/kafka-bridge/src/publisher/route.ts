import type { Leg } from '../message/headers.js';
import type { RoutingState, TopicOffsets } from '../routing/routing-state.js';

/** Where the messages of a topic go now. */
export interface Route {
  epoch: number;
  /** Whether the topic is one of the migration's; the others stay in Kafka and are not held by its fence. */
  migrated: boolean;
  primary: Leg;
  /** Whether the other leg is written too. */
  mirror: boolean;
  /** Share of messages copied while Kafka is primary. */
  ratio: number;
  fenced: boolean;
  /** While Kafka is primary: OwlMQ offsets by partition before which Kafka has everything, where that is known. */
  inKafkaBefore?: readonly number[] | undefined;
}

/**
 * Of a publisher that obeys a migration. Before its first state everything goes to Kafka alone, and any topic may be one
 * of the migration's: what is under way when the state comes is waited for.
 *
 * @param inKafkaBefore as `mirroredAfter` says of the states up to this one.
 */
export function routeOf(topic: string, state: RoutingState | undefined, inKafkaBefore?: TopicOffsets): Route {
  if (state?.topics.includes(topic) !== true) {
    const migrated = state === undefined;
    return { epoch: state?.epoch ?? 0, migrated, primary: 'kafka', mirror: false, ratio: 0, fenced: false };
  }
  const { epoch, primary, mirror, ratio } = state;
  const fenced = state.fence !== undefined;
  return { epoch, migrated: true, primary, mirror, ratio, fenced, inKafkaBefore: inKafkaBefore?.[topic] };
}

/** Of a publisher without a migration. */
export function staticRoute(ratio: number): Route {
  return { epoch: 0, migrated: true, primary: 'kafka', mirror: true, ratio, fenced: false };
}
