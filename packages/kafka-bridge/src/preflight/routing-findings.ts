import type { RoutingState } from '../routing/routing-state.js';
import type { PreflightRequest } from '../playbook/preflight-request.js';
import type { Finding } from './finding.js';

/** An earlier run under this name that did not go back: to begin at Kafka again would undo or repeat what it did. */
export function ownLeftovers(request: PreflightRequest, standing: readonly RoutingState[]): Finding[] {
  const own = standing.find(({ migration }) => migration === request.migration);
  if (own === undefined) return [];
  const backOnKafka =
    own.primary === 'kafka' && own.live === 'kafka' && own.fence === undefined && own.drain === undefined;
  if (backOnKafka) return [];
  return [
    {
      kind: 'input',
      what: `Migration ${own.migration} ran before and left epoch ${own.epoch}: primary ${own.primary}, live ${own.live}${own.mirror ? '' : ', Kafka writes ended'} (${own.reason}).`,
      todo: 'Its fleet follows that state. Nothing may begin anew under its name; roll it back first if its run still exists.',
    },
  ];
}

/** Others that route the same topics. */
export function otherMigrations(request: PreflightRequest, standing: readonly RoutingState[]): Finding[] {
  return standing
    .filter(({ migration, ratio, primary }) => migration !== request.migration && (ratio > 0 || primary === 'owlmq'))
    .flatMap((other): Finding[] => {
      const shared = other.topics.filter((topic) => request.topics.includes(topic));
      if (shared.length === 0) return [];
      return [
        {
          kind: 'state',
          what: `Migration ${other.migration} routes ${shared.join(', ')} already (epoch ${other.epoch}).`,
          todo: `Roll ${other.migration} back, or leave its topics out.`,
        },
      ];
    });
}
