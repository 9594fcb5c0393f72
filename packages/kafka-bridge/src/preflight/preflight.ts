import { asError } from '../async/bounded.js';
import { rootMessages, withCauses } from '../async/causes.js';
import { isKafkaClientError } from '../kafka/client-errors.js';
import type { ClusterAdmin } from '../kafka/cluster-admin.js';
import { LogUnavailableError, type LogReader } from '../kafka/log-reader.js';
import type { MemberRoster } from '../members/member-roster.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { OwlmqError } from '../owlmq/owlmq-errors.js';
import type { PreflightRequest } from '../playbook/preflight-request.js';
import { ROUTING_TOPIC, type RoutingState } from '../routing/routing-state.js';
import type { RoutingWriter } from '../routing/routing-writer.js';
import type { Finding } from './finding.js';
import { groupFindings, shadowGroupFindings } from './group-findings.js';
import { owlmqFindings } from './owlmq-findings.js';
import { producerFindings } from './producer-findings.js';
import { missingRights } from './right-findings.js';
import { otherMigrations, ownLeftovers } from './routing-findings.js';
import { missingTopics, topicFindings } from './topic-findings.js';

/** Connections of whoever looks. */
export interface PreflightSystems {
  admin: ClusterAdmin;
  reader: LogReader;
  routing: Pick<RoutingWriter, 'readAll'>;
  owlmq: OwlmqApi;
  /** Of whoever follows the members; without it nothing is said of members of groups that do not run the library. */
  roster?: Pick<MemberRoster, 'members'>;
}

/** Topics as Kafka has them. */
export interface TopicsInKafka {
  /** Partition count of each topic. */
  topics: Record<string, number>;
  configs: Record<string, Readonly<Record<string, string>>>;
}

export interface Preflight {
  findings: Finding[];
  /** Partition count of each topic that Kafka has. */
  topics: Record<string, number>;
  /** Epoch of the migration's routing state; 0 when none was ever written. */
  epoch: number;
  /** Systems that did not answer, or not to all that was asked: nothing more is known of them. */
  unreachable: ('kafka' | 'owlmq')[];
}

/**
 * Looks at both systems for everything that is in the way of a migration. Reads only; all that it finds is told at once,
 * that a system does not answer too.
 */
export async function preflight(request: PreflightRequest, systems: PreflightSystems): Promise<Preflight> {
  const unreachable: Preflight['unreachable'] = [];
  const untold = (system: 'kafka' | 'owlmq', error: unknown): Finding[] => {
    const finding = silence(system === 'kafka' ? 'Kafka' : 'OwlMQ', error);
    unreachable.push(system);
    return [finding];
  };
  const kafka = await inKafka(request, systems).catch((error: unknown): InKafka => ({
    findings: untold('kafka', error),
    topics: {},
    configs: {},
    epoch: 0,
  }));
  const { topics, epoch } = kafka;
  const owlmq = await owlmqFindings(request, kafka, systems.owlmq).catch((error: unknown) => untold('owlmq', error));
  return { findings: [...kafka.findings, ...owlmq], topics, epoch, unreachable };
}

interface InKafka extends TopicsInKafka {
  findings: Finding[];
  epoch: number;
}

async function inKafka(
  request: PreflightRequest,
  { admin, reader, routing, roster }: PreflightSystems,
): Promise<InKafka> {
  const missing = await missingRights('worker', request, admin);
  // What may not be used is told as that, and not looked at further.
  const usable: PreflightRequest = {
    ...request,
    topics: request.topics.filter((topic) => !missing.topics.has(topic)),
    groups: request.groups.filter((group) => !missing.groups.has(group) && !missing.groups.has(`${group}.shadow`)),
  };
  const existing = await admin.listTopics();
  const topics: TopicsInKafka['topics'] = {};
  const configs: TopicsInKafka['configs'] = {};
  for (const topic of usable.topics.filter((name) => existing.includes(name))) {
    [topics[topic], configs[topic]] = await Promise.all([reader.partitionCount(topic), admin.topicConfig(topic)]);
  }
  const readable = existing.includes(ROUTING_TOPIC) && !missing.topics.has(ROUTING_TOPIC);
  const standing: RoutingState[] = readable ? await routing.readAll() : [];
  return {
    findings: [
      ...missing.findings,
      ...missingTopics(usable, topics),
      ...(await groupFindings(
        { ...request, groups: usable.groups },
        topics,
        admin,
        roster?.members(request.migration),
      )),
      ...(await shadowGroupFindings(usable, standing, admin)),
      ...topicFindings(request, configs),
      ...(await producerFindings(request, Object.keys(topics), reader)),
      ...ownLeftovers(request, standing),
      ...otherMigrations(request, standing),
    ],
    topics,
    configs,
    epoch: standing.find(({ migration }) => migration === request.migration)?.epoch ?? 0,
  };
}

/**
 * The finding that a system does not answer, or does not let anybody in.
 *
 * @throws the error, when it is none of that.
 */
export function silence(system: 'Kafka' | 'OwlMQ', error: unknown): Finding {
  const chain = [...withCauses(error)];
  const ofSystem = (one: Error): boolean =>
    one instanceof LogUnavailableError || one instanceof OwlmqError || isKafkaClientError(one);
  if (!chain.some(ofSystem)) throw asError(error);
  return {
    kind: 'state',
    what: `${system} cannot be asked: ${rootMessages(error).join('; ')}.`,
    todo: `Check ${system}'s addresses, credentials and rights, TLS, and the way there.`,
  };
}
