import type { Finding, PreflightRequest } from './finding.js';
import type { PreflightSystems } from './preflight.js';

/** Room for what a record has around it: its key, headers of the bridge, its frame. */
const AROUND_BYTES = 4_096;

/** What OwlMQ has that is in the way, and what it does not take. */
export async function owlmqFindings(
  { groups }: PreflightRequest,
  topics: Readonly<Record<string, number>>,
  { admin, owlmq }: PreflightSystems,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const { maxRecordBytes } = await owlmq.limits();
  for (const [topic, partitions] of Object.entries(topics)) {
    const inOwlmq = await owlmq.describeTopic(topic);
    if (inOwlmq !== undefined && inOwlmq.partitions.length !== partitions) {
      findings.push({
        kind: 'state',
        what: `Topic ${topic} has ${inOwlmq.partitions.length} partitions in OwlMQ and ${partitions} in Kafka.`,
        todo: `Remove ${topic} from OwlMQ: it is created with as many partitions as in Kafka.`,
      });
    }
    const largest = Number((await admin.topicConfig(topic))['max.message.bytes'] ?? 0);
    if (largest > maxRecordBytes - AROUND_BYTES) {
      findings.push({
        kind: 'warning',
        what: `Topic ${topic} takes messages of up to ${largest} bytes, OwlMQ records of up to ${maxRecordBytes}, with key and headers.`,
        todo: `Raise OwlMQ's limit, or see that no message is that large: its copy is refused, and there is no cutover without it.`,
      });
    }
  }
  for (const group of groups) {
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
