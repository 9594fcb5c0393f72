import { FindCoordinatorKeyTypes, UserError, type Admin, type Connection } from '@platformatic/kafka';
import { backoffMs, pause } from '../async/bounded.js';
import { isPassing, LeaderUnknownError } from './passing-errors.js';

/** Bounds the size of an answer: members with what they subscribe to, and the offsets of every topic. */
const GROUPS_A_REQUEST = 200;
/** Two seconds in all at least: a coordinator that moves takes about one. */
const RETRIES = 5;

/** Brokers that coordinate groups, as far as they were looked up. One that is not it any more says so. */
const coordinators = new WeakMap<Admin, Map<string, number>>();

/**
 * Asks the coordinator of each group: one look-up for all, one request a broker, and again where a coordinator is not
 * there for now. Answers come in no particular order.
 */
export async function atCoordinators<T>(
  admin: Admin,
  groups: readonly string[],
  ask: (connection: Connection, groups: string[]) => Promise<T[]>,
): Promise<T[]> {
  if (groups.length === 0) return [];
  return await persistently(admin, () => askOnce(admin, groups, ask));
}

/** Tries what a broker that goes or comes fails for now again, with nothing that was known of brokers before. */
export async function persistently<T>(admin: Admin, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === RETRIES || !isPassing(error)) throw error;
      admin.clearMetadata();
      coordinators.delete(admin);
      await pause(backoffMs(attempt, 200, 2_000));
    }
  }
}

async function askOnce<T>(
  admin: Admin,
  groups: readonly string[],
  ask: (connection: Connection, groups: string[]) => Promise<T[]>,
): Promise<T[]> {
  const byNode = new Map<number, string[]>();
  for (const [group, node] of await coordinatorsOf(admin, groups)) {
    const some = byNode.get(node) ?? [];
    byNode.set(node, some);
    some.push(group);
  }
  const connections = await admin.connectToBrokers([...byNode.keys()]);
  const answers = await Promise.all(
    [...byNode].map(async ([node, some]) => {
      const connection = connections.get(node);
      if (connection === undefined) throw new LeaderUnknownError(`Kafka's metadata has no address of broker ${node}.`);
      const parts: T[] = [];
      for (let start = 0; start < some.length; start += GROUPS_A_REQUEST) {
        parts.push(...(await ask(connection, some.slice(start, start + GROUPS_A_REQUEST))));
      }
      return parts;
    }),
  );
  return answers.flat();
}

async function coordinatorsOf(admin: Admin, groups: readonly string[]): Promise<[group: string, node: number][]> {
  const known = coordinators.get(admin) ?? new Map<string, number>();
  coordinators.set(admin, known);
  const keys = groups.filter((group) => !known.has(group));
  if (keys.length > 0) {
    const found = await admin.findCoordinator({ keyType: FindCoordinatorKeyTypes.GROUP, keys });
    for (const { key, nodeId } of found) known.set(key, nodeId);
  }
  return groups.map((group) => {
    const node = known.get(group);
    if (node === undefined) throw new LeaderUnknownError(`Kafka has not said who coordinates group ${group}.`);
    return [group, node];
  });
}

const brokerApis = new WeakMap<Admin, ReturnType<Admin['listApis']>>();

/**
 * Of the versions of a request the first that the cluster speaks too.
 *
 * @throws {UserError} when it speaks none of them.
 */
export async function spoken<T>(admin: Admin, apiKey: number, versions: ReadonlyMap<number, T>): Promise<T> {
  let known = brokerApis.get(admin);
  if (known === undefined) {
    known = admin.listApis();
    brokerApis.set(admin, known);
    known.catch(() => brokerApis.delete(admin));
  }
  const range = (await known).find((api) => api.apiKey === apiKey);
  for (const [version, api] of versions) {
    if (range !== undefined && version >= range.minVersion && version <= range.maxVersion) return api;
  }
  throw new UserError(
    `The broker speaks none of the versions ${[...versions.keys()].join(', ')} of request ${apiKey}: it is too old or too new.`,
  );
}
