import { kafkaGroups, readProvenance, type LogRecord, type RoutingState } from '@owlmq/kafka-bridge/operations';
import ms from 'ms';
import type { Dependencies } from './dependencies.js';
import type { Finding, MigrationActivities, PreflightRequest } from './migration-activities.js';

/** Search attributes that the workflow sets when the namespace has them, with their types. */
const SEARCH_ATTRIBUTES = {
  MigrationPhase: 'Keyword',
  MigrationRatio: 'Double',
  MigrationBlocked: 'Bool',
  MigrationAttention: 'Keyword',
} as const;

/** Records of a topic that are looked at for producers without the library. */
const RECENT_RECORDS = 500;

/** The step that looks before the start. */
export function preflightActivities(dependencies: Dependencies): Pick<MigrationActivities, 'preflight'> {
  const { admin, reader, routing, owlmq } = dependencies;
  return {
    preflight: async (request) => {
      const [existing, known] = await Promise.all([admin.listTopics(), dependencies.searchAttributes()]);
      const topics: Record<string, number> = {};
      for (const topic of request.topics) {
        if (existing.includes(topic)) topics[topic] = await reader.partitionCount(topic);
      }
      const standing = existing.includes('owlmq-bridge.routing') ? await routing.readAll() : [];
      return {
        findings: [
          ...missingTopics(request, topics),
          ...(await groupFindings(request, topics)),
          ...(await shadowGroupFindings(request, standing)),
          ...(await topicFindings(request, topics)),
          ...(await foreignFindings(request, topics)),
          ...ownLeftovers(request, standing),
          ...otherMigrations(request, standing),
          ...webhookFindings(request, dependencies.webhooks),
          ...attributeFindings(known),
        ],
        topics,
        epoch: standing.find(({ migration }) => migration === request.migration)?.epoch ?? 0,
        searchAttributes: Object.keys(SEARCH_ATTRIBUTES).filter((name) => known.includes(name)),
      };
    },
  };

  async function groupFindings(
    { groups }: PreflightRequest,
    topics: Readonly<Record<string, number>>,
  ): Promise<Finding[]> {
    const standings = await kafkaGroups(admin, groups, { topics });
    const unknown = standings.some(({ kind }) => kind === 'unknown');
    const names = unknown ? (await admin.listGroups()).map(({ name }) => name).slice(0, 20) : [];
    return standings.flatMap(({ group, kind, refusal, offsets }): Finding[] => {
      if (kind === 'unknown') {
        return [
          {
            kind: 'input',
            what: `Consumer group ${group} does not exist in Kafka.`,
            todo: `Correct the name, or let the group consume once. Groups there: ${names.join(', ') || 'none'}.`,
          },
        ];
      }
      if (refusal !== undefined) {
        const todo = 'Mend that, or leave the group out: its positions cannot be moved.';
        return [{ kind: 'state', what: `Group ${group} of Kafka: ${refusal}.`, todo }];
      }
      if (kind !== 'classic') {
        return [
          {
            kind: 'input',
            what: `Consumer group ${group} is of the type "${kind}", which DualConsumer does not join.`,
            todo: 'Move the group to the classic protocol first.',
          },
        ];
      }
      if (offsets.every(({ topic, metadata }) => topics[topic] === undefined || metadata === undefined)) return [];
      return [
        {
          kind: 'warning',
          what: `Group ${group} keeps metadata with its commits, and OwlMQ keeps none.`,
          todo: 'Make sure that its consumers can do without.',
        },
      ];
    });
  }

  /** A measurement of noise uses groups in Kafka that nobody else may be in. */
  async function shadowGroupFindings(request: PreflightRequest, standing: RoutingState[]): Promise<Finding[]> {
    // Of a run before, whose shadows still measure: they are the same.
    const own = standing.some(({ migration, shadow }) => migration === request.migration && shadow === 'noise');
    if (request.noise !== true || own) return [];
    const known = await admin.listGroups();
    const taken = request.groups.filter((group) =>
      known.some(({ name, state }) => name === `${group}.shadow` && !/^(empty|dead)$/i.test(state)),
    );
    return taken.map((group) => ({
      kind: 'state',
      what: `Group ${group}.shadow has members in Kafka, and noise is measured in a group of that name.`,
      todo: `Give them another group, or start the migration without noise.`,
    }));
  }

  /** Reads the newest records of each topic and looks for the library's headers. */
  async function foreignFindings({ forward }: PreflightRequest, topics: Record<string, number>): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const topic of Object.keys(topics)) {
      const bounds = await reader.bounds(topic);
      const share = Math.max(1, Math.floor(RECENT_RECORDS / Math.max(1, bounds.length)));
      let read = 0;
      let foreign = 0;
      for (const { partition, beginOffset, endOffset } of bounds) {
        const records = await newestRecords(topic, partition, Math.max(beginOffset, endOffset - share), endOffset);
        read += records.length;
        foreign += records.filter(({ headers }) => readProvenance(headers).id === undefined).length;
      }
      if (foreign > 0) findings.push(foreignFinding(topic, foreign, read, forward.includes(topic)));
    }
    return findings;
  }

  async function newestRecords(topic: string, partition: number, from: number, end: number): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    for (let offset = from; offset < end;) {
      const [slice] = await reader.read(topic, [{ partition, offset }], { maxWaitMs: 100 });
      // Nothing where the bounds say that there is something: retention, or a control record at the end.
      if (slice === undefined || slice.nextOffset <= offset) break;
      records.push(...slice.records.filter((record) => record.offset < end));
      offset = slice.nextOffset;
    }
    return records;
  }

  async function topicFindings(request: PreflightRequest, topics: Record<string, number>): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const [topic, partitions] of Object.entries(topics)) {
      const config = await admin.topicConfig(topic);
      const retention = Number(config['retention.ms'] ?? -1);
      if (retention >= 0 && retention < request.retentionNeededMs) {
        findings.push({
          kind: 'state',
          what: `Topic ${topic} keeps records for ${ms(retention, { long: true })}, less than soak, warm period and a day of margin (${ms(request.retentionNeededMs, { long: true })}).`,
          todo: `Raise retention.ms of ${topic} to at least ${request.retentionNeededMs}, or shorten soak and warm.`,
        });
      }
      if (config['cleanup.policy']?.includes('compact') === true) {
        findings.push({
          kind: 'warning',
          what: `Topic ${topic} is compacted; OwlMQ gets every message and compacts nothing.`,
          todo: 'Make sure that consumers can do with all values of a key.',
        });
      }
      const inOwlmq = await owlmq.describeTopic(topic);
      if (inOwlmq !== undefined && inOwlmq.partitions.length !== partitions) {
        findings.push({
          kind: 'state',
          what: `Topic ${topic} has ${inOwlmq.partitions.length} partitions in OwlMQ and ${partitions} in Kafka.`,
          todo: `Remove ${topic} from OwlMQ: it is created with as many partitions as in Kafka.`,
        });
      }
    }
    for (const group of request.groups) {
      const inOwlmq = await owlmq.describeGroup(group);
      if (inOwlmq === undefined || inOwlmq.members.length === 0) continue;
      findings.push({
        kind: 'state',
        what: `Group ${group} has members in OwlMQ: ${inOwlmq.members.map(({ clientId }) => clientId).join(', ')}.`,
        todo: `Stop them: positions are imported into groups without members.`,
      });
    }
    return findings;
  }
}

/** What is said of producers without the library that wrote lately. */
function foreignFinding(topic: string, foreign: number, read: number, forwarded: boolean): Finding {
  const what = `${foreign} of the last ${read} records of ${topic} are of producers that do not use the library`;
  return forwarded
    ? {
        kind: 'warning',
        what: `${what}: the bridge copies what they write, as forward says.`,
        todo: `They have to be moved or stopped before the decommission: from there on what they write to Kafka is lost.`,
      }
    : {
        kind: 'warning',
        what: `${what}, and ${topic} is not in forward: as long as they write there is no cutover.`,
        todo: `Move them to DualPublisher before the cutover, or start with ${topic} in forward.`,
      };
}

function missingTopics(request: PreflightRequest, found: Record<string, number>): Finding[] {
  return request.topics
    .filter((topic) => found[topic] === undefined)
    .map((topic) => ({
      kind: 'input',
      what: `Topic ${topic} does not exist in Kafka.`,
      todo: 'Correct the name, or create the topic.',
    }));
}

/** An earlier run under this name that did not go back: to begin at Kafka again would undo or repeat what it did. */
function ownLeftovers(request: PreflightRequest, standing: RoutingState[]): Finding[] {
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

function otherMigrations(request: PreflightRequest, standing: RoutingState[]): Finding[] {
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

function webhookFindings({ webhooks = [] }: PreflightRequest, known: Dependencies['webhooks']): Finding[] {
  return webhooks
    .filter((name) => known?.has(name) !== true)
    .map((name) => ({
      kind: 'input',
      what: `The worker knows no webhook ${name}.`,
      todo: `Give ${name} its address in the HOOKS_FILE of every worker, and restart them; or correct the name.`,
    }));
}

function attributeFindings(known: string[]): Finding[] {
  return Object.entries(SEARCH_ATTRIBUTES)
    .filter(([name]) => !known.includes(name))
    .map(([name, type]) => ({
      kind: 'warning',
      what: `The Temporal namespace has no search attribute ${name}; the run goes on without it.`,
      todo: `temporal operator search-attribute create --name ${name} --type ${type}`,
    }));
}
