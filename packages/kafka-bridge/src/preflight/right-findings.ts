import type { Authorized } from '../kafka/authorized-operations.js';
import type { ClusterAdmin } from '../kafka/cluster-admin.js';
import { aclCommands, SOME_PRINCIPAL } from './acl-commands.js';
import type { Finding } from './finding.js';
import type { KafkaRole } from './kafka-roles.js';
import { neededRights, type NeededRight, type RightsRequest } from './needed-rights.js';

/** What Kafka does not let somebody do. */
export interface MissingRights {
  findings: Finding[];
  /** Topics and groups with a right missing: what cannot be used need not be looked at further. */
  topics: ReadonlySet<string>;
  groups: ReadonlySet<string>;
}

/** The connection of whoever is to have the rights. */
export type RightsAdmin = Pick<
  ClusterAdmin,
  'principal' | 'authorizedOnTopics' | 'authorizedOnGroups' | 'creatableTopics'
>;

/**
 * Compares what a role needs with what Kafka says that this client may do. Writes nothing. A broker without an
 * authorizer allows all; one that does not tell is believed to.
 */
export async function missingRights(
  role: KafkaRole,
  request: RightsRequest,
  admin: RightsAdmin,
): Promise<MissingRights> {
  const needed = neededRights(role, request);
  const of = (kind: NeededRight['resource']): string[] => [
    ...new Set(needed.filter(({ resource }) => resource === kind).flatMap(({ covers }) => covers)),
  ];
  const [onTopics, onGroups] = await Promise.all([
    admin.authorizedOnTopics(of('topic')),
    admin.authorizedOnGroups(of('group')),
  ]);
  const unseen = [...onTopics].filter(([, { exists }]) => exists !== true).map(([topic]) => topic);
  const creatable = await admin.creatableTopics(
    needed.filter(({ operation }) => operation === 'Create').flatMap(({ covers }) => covers.filter(isIn(unseen))),
  );
  const missing = { topics: new Set<string>(), groups: new Set<string>() };
  const findings = needed.flatMap((right): Finding[] => {
    const known = right.resource === 'topic' ? onTopics : onGroups;
    const lacking =
      right.operation === 'Create'
        ? right.covers.filter((name) => unseen.includes(name) && !creatable.has(name))
        : right.covers.filter((name) => isMissing(known.get(name), right));
    for (const name of lacking) missing[right.resource === 'topic' ? 'topics' : 'groups'].add(name);
    return lacking.length === 0 ? [] : [missingRight(right, lacking, admin.principal)];
  });
  return { findings: [...findings, ...(role === 'worker' ? [] : unmade(unseen, onTopics))], ...missing };
}

function isIn(names: readonly string[]): (name: string) => boolean {
  return (name) => names.includes(name);
}

function isMissing(authorized: Authorized | undefined, { operation }: NeededRight): boolean {
  return authorized?.may !== undefined && !authorized.may.has(operation);
}

function missingRight(right: NeededRight, lacking: readonly string[], principal: string | undefined): Finding {
  const { operation, resource, why } = right;
  const [command = ''] = aclCommands([right], principal ?? SOME_PRINCIPAL);
  return {
    kind: 'state',
    what: `Kafka does not allow ${principal ?? 'this client'} ${operation} on ${resource} ${lacking.join(', ')}, needed ${why}.`,
    todo: command,
  };
}

/** What a service may do with a topic that is not there is not told. */
function unmade(unseen: readonly string[], onTopics: ReadonlyMap<string, Authorized>): Finding[] {
  const absent = unseen.filter((topic) => onTopics.get(topic)?.exists === false);
  if (absent.length === 0) return [];
  return [
    {
      kind: 'state',
      what: `Topic ${absent.join(', ')} is not in Kafka yet, so that the rights on it cannot be looked at.`,
      todo: 'Correct the name; or start the worker, which makes the topics of the bridge, and look again.',
    },
  ];
}
