import type { RoutingState, TopicOffsets } from '@owlmq/kafka-bridge/operations';

/** What the checker needs of a routing state. */
export type Route = Pick<RoutingState, 'epoch' | 'primary' | 'ratio'> & { fenced: boolean };

/** A fence that stood: every publisher had acknowledged it, or its lease was over. */
export interface StandingFence {
  epoch: number;
  /** ms on the machine's monotonic clock. */
  stoodAt: number;
  /** Ends of both legs while it stood. */
  kafka: TopicOffsets;
  owlmq: TopicOffsets;
  acknowledged: number;
  /** Instances that did not acknowledge it. */
  silent: string[];
  waitedMs: number;
  longestHoldMs: number;
}

/** All routing states that may have been read by somebody, and the fences that stood. */
export class RouteHistory {
  readonly routes = new Map<number, Route>();
  readonly fences: StandingFence[] = [];
  cutovers = 0;
  rollbacks = 0;
  cancelled = 0;

  add({ epoch, primary, ratio, fence }: RoutingState): void {
    this.routes.set(epoch, { epoch, primary, ratio, fenced: fence !== undefined });
  }
}
