import type { RoutingState } from '../../routing/routing-state.js';
import { nameTable } from '../text-table.js';
import { ago, duration, legName, share } from '../words.js';

/** What a routing state says, a subject each. */
export interface StateWords {
  publish: string;
  mirror: string;
  fence: string;
  consumers: string;
  drain: string;
  shadows: string;
}

function shadowWords({ shadow, shadowFrom }: RoutingState): string {
  switch (shadow) {
    case 'off':
      return 'off';
    case 'observe':
      return 'live consumers report what they do; no shadow runs';
    case 'compare':
      return 'shadows on OwlMQ run and are compared';
    case 'noise':
      return shadowFrom === undefined
        ? 'live consumers report what they do with every record; no shadow runs'
        : "shadows on Kafka run beside the live consumers: what differs is the handlers' own noise";
  }
}

export function stateWords(state: RoutingState): StateWords {
  const { primary, mirror, ratio, live, drain, fence } = state;
  const other = legName(primary === 'kafka' ? 'owlmq' : 'kafka');
  const copies =
    primary === 'kafka' ? `${share(ratio)} of the messages are copied to OwlMQ` : 'Kafka gets every message too';
  return {
    publish: `${legName(primary)} is primary`,
    mirror: mirror ? copies : `${other} is not written any more: final`,
    fence: fence === undefined ? 'none' : `publishers hold: ${fence.reason}`,
    consumers: `live on ${legName(live)}`,
    drain:
      drain === undefined
        ? 'none'
        : drain === 'stop'
          ? 'consumers stop where they are and apply nothing more'
          : 'consumers stop at given offsets and apply nothing more',
    shadows: shadowWords(state),
  };
}

/** A whole state, for people. */
export function stateLines(state: RoutingState): string[] {
  const words = stateWords(state);
  return [
    `Migration ${state.migration}, epoch ${state.epoch}, written ${state.writtenAt} (${ago(state.writtenAt)}):`,
    `  ${state.reason}`,
    '',
    ...nameTable([
      ['publish()', `${words.publish}; ${words.mirror}`],
      ['fence', words.fence],
      ['consumers', `${words.consumers}; drain: ${words.drain}`],
      ['shadows', words.shadows],
      ['topics', state.topics.join(', ')],
      ...(state.forward === undefined || state.forward.length === 0
        ? []
        : [['forwarded', `foreign records of ${state.forward.join(', ')}`] as const]),
      ['groups', state.groups.length === 0 ? 'none' : state.groups.join(', ')],
      ['lease', duration(state.leaseMs)],
    ]),
  ];
}
