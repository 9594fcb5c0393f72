import type { Link, Toxic } from '../rig/toxiproxy.js';

/** Every way in which the way of one process to one leg can be broken. */
export const linkFaultKinds = [
  /** Latency both ways. */
  'link-slow',
  /** A few kilobytes a second. */
  'link-narrow',
  /** Connections are reset. */
  'link-reset',
  /** Connections end in the middle of what is sent. */
  'link-cut-short',
  /** Connections stay open and nothing passes. */
  'link-silent',
  /** What is sent arrives, its answer does not. */
  'link-half-open',
  /** Connections break and none can be made. */
  'link-down',
] as const;
export type LinkFaultKind = (typeof linkFaultKinds)[number];

/** Breaks a link for as long as the work takes; `strength` from 0 to 1 where that means something. */
export async function breakLink(
  link: Link,
  kind: LinkFaultKind,
  strength: number,
  work: () => Promise<void>,
): Promise<void> {
  if (kind === 'link-down') await link.down(work);
  else await link.during(toxicsOf(kind, strength), work);
}

function toxicsOf(kind: Exclude<LinkFaultKind, 'link-down'>, strength: number): Toxic[] {
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
