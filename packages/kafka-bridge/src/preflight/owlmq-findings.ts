import { owlmqGroups } from '../groups/group-standing.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import type { PreflightRequest } from '../playbook/preflight-request.js';
import type { Finding } from './finding.js';
import type { TopicsInKafka } from './preflight.js';

/** Room for what a record has around it: its key, headers of the bridge, its frame. */
const AROUND_BYTES = 4_096;

/** What OwlMQ has that is in the way, and what it does not take. */
export async function owlmqFindings(
  { groups }: PreflightRequest,
  { topics, configs }: TopicsInKafka,
  owlmq: OwlmqApi,
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
    const largest = Number(configs[topic]?.['max.message.bytes'] ?? 0);
    if (largest > maxRecordBytes - AROUND_BYTES) {
      findings.push({
        kind: 'warning',
        what: `Topic ${topic} takes batches of up to ${largest} bytes, compressed, and so perhaps a message that is larger than what OwlMQ takes: ${maxRecordBytes} bytes with key and headers.`,
        todo: `Raise OwlMQ's limit, or see that no message is that large: its copy is refused, and there is no cutover without it.`,
      });
    }
  }
  for (const { group, members } of await owlmqGroups(owlmq, groups)) {
    if (members.length === 0) continue;
    findings.push({
      kind: 'state',
      what: `Group ${group} has members in OwlMQ: ${members.map(({ clientId }) => clientId).join(', ')}.`,
      todo: `Stop them: positions are imported into groups without members.`,
    });
  }
  return findings;
}
