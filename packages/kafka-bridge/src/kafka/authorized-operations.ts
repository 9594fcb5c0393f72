import {
  createTopicsV7,
  describeGroupsV5,
  metadataV11,
  metadataV12,
  ResponseError,
  type Admin,
  type Connection,
} from '@platformatic/kafka';
import { withCauses } from '../async/causes.js';
import { atCoordinators, persistently, spoken } from './group-coordinators.js';
import { brokerError, LeaderUnknownError } from './passing-errors.js';

/*
 * What the brokers let this client do, as they themselves say it: whatever it comes from, lists, roles or a super user.
 * Nothing is written to find it out.
 */

/** Operations as Kafka's own tools name them, with their numbers on the wire. */
const codes = { Read: 3, Write: 4, Create: 5, Describe: 8, DescribeConfigs: 10 } as const;

/** Operations that a migration needs. */
export type KafkaOperation = keyof typeof codes;

/** What a client may do with a topic or a group. */
export interface Authorized {
  /** Undefined where the client may not even know. */
  exists: boolean | undefined;
  /** Undefined where the broker does not tell: of what does not exist, or at all. */
  may: ReadonlySet<KafkaOperation> | undefined;
}

const METADATA = 3;
const NO_ERROR = 0;
const UNKNOWN_TOPIC_OR_PARTITION = 3;
const TOPIC_AUTHORIZATION_FAILED = 29;
/** How a broker says that it does not tell. */
const NOT_TOLD = -2_147_483_648;
const CREATE_TIMEOUT_MS = 10_000;

const metadata = new Map([
  [12, metadataV12.api],
  [11, metadataV11.api],
]);

/** What the client may do with topics, by name. */
export async function authorizedOnTopics(
  admin: Admin,
  topics: readonly string[],
): Promise<ReadonlyMap<string, Authorized>> {
  if (topics.length === 0) return new Map();
  const api = await spoken(admin, METADATA, metadata);
  return await persistently(admin, async () => {
    const answer = await answered(api.async(await anyBroker(admin), [...topics], false, true));
    return new Map(
      answer.topics.map(({ name, errorCode, topicAuthorizedOperations }) => {
        switch (errorCode) {
          case NO_ERROR:
            return [name ?? '', { exists: true, may: operations(topicAuthorizedOperations) }];
          case UNKNOWN_TOPIC_OR_PARTITION:
            return [name ?? '', { exists: false, may: undefined }];
          case TOPIC_AUTHORIZATION_FAILED:
            return [name ?? '', nothing()];
          default:
            throw brokerError(errorCode);
        }
      }),
    );
  });
}

/** What the client may do with consumer groups, by name; of those that do not exist, too. */
export async function authorizedOnGroups(
  admin: Admin,
  groups: readonly string[],
): Promise<ReadonlyMap<string, Authorized>> {
  // One by one: what is not allowed for one of several fails for all of them.
  const found = await Promise.all(
    groups.map(async (group): Promise<[string, Authorized]> => {
      try {
        const [may] = await atCoordinators(admin, [group], async (connection, some) => {
          const answer = await describeGroupsV5.api.async(connection, some, true);
          return answer.groups.map(({ authorizedOperations }) => operations(authorizedOperations));
        });
        return [group, { exists: undefined, may }];
      } catch (error) {
        if (!says(error, 'GROUP_AUTHORIZATION_FAILED')) throw error;
        return [group, nothing()];
      }
    }),
  );
  return new Map(found);
}

/** Those of the topics that the client may create, or that are there already. Creates none. */
export async function creatableTopics(admin: Admin, topics: readonly string[]): Promise<ReadonlySet<string>> {
  if (topics.length === 0) return new Set();
  const wanted = topics.map((name) => ({
    ...{ name, numPartitions: 1, replicationFactor: -1 },
    ...{ assignments: [], configs: [] },
  }));
  return await persistently(admin, async () => {
    const answer = await answered(createTopicsV7.api.async(await anyBroker(admin), wanted, CREATE_TIMEOUT_MS, true));
    const refused = answer.topics.filter(({ errorCode }) => errorCode === TOPIC_AUTHORIZATION_FAILED);
    const names = new Set(refused.map(({ name }) => name));
    return new Set(topics.filter((topic) => !names.has(topic)));
  });
}

function operations(bits: number): ReadonlySet<KafkaOperation> | undefined {
  if (bits === NOT_TOLD) return undefined;
  const all = Object.entries(codes) as [KafkaOperation, number][];
  return new Set(all.filter(([, code]) => (bits & (1 << code)) !== 0).map(([operation]) => operation));
}

function nothing(): Authorized {
  return { exists: undefined, may: new Set() };
}

/** The client rejects an answer with an error about any of what was asked for; the rest of it is in the error. */
async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ResponseError) return (error as ResponseError & { response: T }).response;
    throw error;
  }
}

async function anyBroker(admin: Admin): Promise<Connection> {
  const { brokers } = await admin.metadata({ topics: [] });
  const [node] = brokers.keys();
  const connection = node === undefined ? undefined : (await admin.connectToBrokers([node])).get(node);
  if (connection === undefined) throw new LeaderUnknownError("Kafka's metadata names no broker.");
  return connection;
}

function says(error: unknown, apiId: string): boolean {
  return [...withCauses(error)].some((one) => (one as { apiId?: unknown }).apiId === apiId);
}
