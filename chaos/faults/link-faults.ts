import type { Toxic } from '../rig/toxiproxy.js';
import type { Fault, FaultKind } from './fault.js';

type LinkFault = Exclude<Extract<FaultKind, `link-${string}`>, 'link-down'>;

/** The toxics of a fault of a link. */
export function toxicsOf(kind: LinkFault, { strength }: Pick<Fault, 'strength'>): Toxic[] {
  const upTo = (most: number): number => Math.round(strength * most);
  switch (kind) {
    case 'link-slow':
      return bothWays('latency', { latency: 50 + upTo(1_500), jitter: 20 + upTo(300) });
    case 'link-narrow':
      return bothWays('bandwidth', { rate: 2 + upTo(30) });
    case 'link-reset':
      return bothWays('reset_peer', { timeout: upTo(500) });
    case 'link-cut-short':
      return bothWays('limit_data', { bytes: 500 + upTo(50_000) });
    case 'link-silent':
      return bothWays('timeout', { timeout: 0 });
    case 'link-half-open':
      return [{ type: 'timeout', stream: 'downstream', attributes: { timeout: 0 } }];
  }
}

function bothWays(type: Toxic['type'], attributes: Toxic['attributes']): Toxic[] {
  return [
    { type, stream: 'upstream', attributes },
    { type, stream: 'downstream', attributes },
  ];
}
