/**
 * The decisions of the protocol, and the parts that carry them out without a connection of their own: for the simulation,
 * which runs them over a network and a clock that it makes up.
 */
export { ApplyGate, type Standing } from './consumer/apply-gate.js';
export { allDrained, type ConsumingSide } from './consumer/consuming-side.js';
export { PartitionProgress } from './consumer/partition-progress.js';
export { SideSlot } from './consumer/side-slot.js';
export { partitionOfKey } from './publisher/partitioner.js';
export { place, Redeliveries, start, type SourceRecord } from './offsets/translation.js';
export type { ConsumerReport, MemberReport, PublisherReport } from './members/member-report.js';
export { isCountedOut, isLiving } from './members/member-roster.js';
export { HEADER, parsePosition } from './message/headers.js';
export type { OwlmqApi, PublishResult } from './owlmq/owlmq-api.js';
export { OwlmqUnreachableError } from './owlmq/owlmq-errors.js';
export { Dispatcher } from './publisher/dispatcher.js';
export type { KafkaEntry, KafkaLane } from './publisher/kafka-lane.js';
export { newOutgoing } from './publisher/outgoing.js';
export { PublishFailedError, PublishOutcomeUnknownError } from './publisher/publisher-errors.js';
export { checkedSettings } from './publisher/publisher-options.js';
export { routeOf, type Route } from './publisher/route.js';
export type { TopicPartitions } from './publisher/topic-partitions.js';
export { DEFAULT_LEASE_MS, isFinal, shadowLeg, type RoutingState, type TopicOffsets } from './routing/routing-state.js';
export { newerState, sameState } from './routing/routing-log.js';
export { RoutingView, type RoutingNews, type RoutingSlice } from './routing/routing-view.js';
export { EpochSupersededError } from './routing/routing-errors.js';
export { decideWrite } from './routing/write-decision.js';
