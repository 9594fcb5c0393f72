import type { Dependencies } from '../../src/activities/dependencies.js';
import type { Process } from '../clock/world.js';
import type { Leg } from '../systems/group.js';
import { TOPIC } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';
import type { Roster } from './roster.js';

type Clients = Pick<Dependencies, 'roster' | 'admin' | 'reader' | 'owlmq'>;

/**
 * What the worker's clients answer to the production code that watches a drain and puts dead members out of groups. Of
 * each client there are the calls that this code makes; others fail.
 */
export function clientsOf(systems: Systems, process: Process, roster: Roster): Clients {
  const ask = <T>(leg: Leg, serve: () => T): Promise<T> => systems.network.ask(process, systems.service(leg), serve);
  const commitsOf = (leg: Leg, group: string) => [...systems.group(leg, group).commits];
  const admin = {
    offsetsOfGroups: (groups: readonly string[]) =>
      ask('kafka', () => new Map(groups.map((group) => [group, { [TOPIC]: commitsOf('kafka', group) }]))),
    describeGroups: (groups: readonly string[]) =>
      ask('kafka', () => groups.map((name) => ({ name, members: systems.group('kafka', name).members }))),
    removeMembers: (group: string, memberIds: readonly string[]) =>
      ask('kafka', () => {
        for (const memberId of memberIds) systems.group('kafka', group).leave(memberId);
      }),
  };
  const owlmq = {
    describeGroup: (group: string) =>
      ask('owlmq', () => ({
        members: systems.group('owlmq', group).members,
        offsets: commitsOf('owlmq', group).flatMap((offset, partition) =>
          offset === undefined ? [] : [{ topic: TOPIC, partition, offset }],
        ),
      })),
    leaveGroup: (group: string, memberId: string) =>
      ask('owlmq', () => {
        systems.group('owlmq', group).leave(memberId);
      }),
    describeTopic: () =>
      ask('owlmq', () => ({
        partitions: systems.logs.owlmq.ends.map((endOffset, partition) => ({ partition, beginOffset: 0, endOffset })),
      })),
  };
  const reader = {
    bounds: () =>
      ask('kafka', () =>
        systems.logs.kafka.ends.map((endOffset, partition) => ({ partition, beginOffset: 0, endOffset })),
      ),
  };
  const members = { readAll: () => roster.readMembers(), readMembers: () => roster.readMembers() };
  return { admin, owlmq, reader, roster: members } as unknown as Clients;
}
