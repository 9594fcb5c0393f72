import { rootMessages } from '../async/causes.js';
import { asError } from '../async/bounded.js';
import type { ClusterAdmin } from '../kafka/cluster-admin.js';
import { LogUnavailableError, type LogReader } from '../kafka/log-reader.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { ROUTING_TOPIC, type RoutingState } from '../routing/routing-state.js';
import type { RoutingWriter } from '../routing/routing-writer.js';
import type { Finding, PreflightRequest } from './finding.js';
import { groupFindings, shadowGroupFindings } from './group-findings.js';
import { owlmqFindings } from './owlmq-findings.js';
import { producerFindings } from './producer-findings.js';
import { otherMigrations, ownLeftovers } from './routing-findings.js';
import { missingTopics, topicFindings } from './topic-findings.js';

/** Connections of whoever looks. */
export interface PreflightSystems {
  admin: ClusterAdmin;
  reader: LogReader;
  routing: Pick<RoutingWriter, 'readAll'>;
  owlmq: OwlmqApi;
}

export interface Preflight {
  findings: Finding[];
  /** Partition count of each topic that Kafka has. */
  topics: Record<string, number>;
  /** Epoch of the migration's routing state; 0 when none was ever written. */
  epoch: number;
  /** Systems that did not answer: nothing is known of them beyond that. */
  unreachable: ('kafka' | 'owlmq')[];
}

const REACHED = 'addresses, credentials, TLS, and the way there';

/** Looks at both systems for everything that is in the way of a migration. Reads only; all that it finds is told at once. */
export async function preflight(request: PreflightRequest, systems: PreflightSystems): Promise<Preflight> {
  const [kafka, owlmqError] = await Promise.all([
    inKafka(request, systems).catch((error: unknown) => asError(error)),
    systems.owlmq.limits().then(
      () => undefined,
      (error: unknown) => asError(error),
    ),
  ]);
  const found: Preflight =
    kafka instanceof Error
      ? { findings: [silence('Kafka', kafka)], topics: {}, epoch: 0, unreachable: ['kafka'] }
      : { ...kafka, unreachable: [] };
  if (owlmqError === undefined) found.findings.push(...(await owlmqFindings(request, found.topics, systems)));
  else {
    found.findings.push(silence('OwlMQ', owlmqError));
    found.unreachable.push('owlmq');
  }
  return found;
}

async function inKafka(
  request: PreflightRequest,
  { admin, reader, routing }: PreflightSystems,
): Promise<Omit<Preflight, 'unreachable'>> {
  const existing = await admin.listTopics();
  const topics: Record<string, number> = {};
  for (const topic of request.topics) if (existing.includes(topic)) topics[topic] = await reader.partitionCount(topic);
  const standing: RoutingState[] = existing.includes(ROUTING_TOPIC) ? await routing.readAll() : [];
  return {
    findings: [
      ...missingTopics(request, topics),
      ...(await groupFindings(request, topics, admin)),
      ...(await shadowGroupFindings(request, standing, admin)),
      ...(await topicFindings(request, topics, admin)),
      ...(await producerFindings(request, topics, reader)),
      ...ownLeftovers(request, standing),
      ...otherMigrations(request, standing),
    ],
    topics,
    epoch: standing.find(({ migration }) => migration === request.migration)?.epoch ?? 0,
  };
}

function silence(system: string, error: Error): Finding {
  const why = error instanceof LogUnavailableError ? rootMessages(error).join('; ') : error.message;
  return { kind: 'state', what: `${system} cannot be asked: ${why}.`, todo: `Check ${REACHED}: ${system}'s.` };
}
