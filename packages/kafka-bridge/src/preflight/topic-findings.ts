import ms from 'ms';
import type { PreflightRequest } from '../playbook/preflight-request.js';
import type { Finding } from './finding.js';
import type { TopicsInKafka } from './preflight.js';

export function missingTopics({ topics }: PreflightRequest, found: TopicsInKafka['topics']): Finding[] {
  return topics
    .filter((topic) => found[topic] === undefined)
    .map((topic) => ({
      kind: 'input',
      what: `Topic ${topic} does not exist in Kafka.`,
      todo: 'Correct the name, or create the topic.',
    }));
}

/** What the configuration of topics says against a migration. */
export function topicFindings(request: PreflightRequest, configs: TopicsInKafka['configs']): Finding[] {
  const findings: Finding[] = [];
  for (const [topic, config] of Object.entries(configs)) {
    const retention = Number(config['retention.ms'] ?? -1);
    if (retention >= 0 && retention < request.retentionNeededMs) {
      findings.push({
        kind: 'state',
        what: `Topic ${topic} keeps records for ${ms(retention, { long: true })}, less than soak, warm period and a day of margin (${ms(request.retentionNeededMs, { long: true })}).`,
        todo: `Raise retention.ms of ${topic} to at least ${request.retentionNeededMs}, or shorten soak and warm.`,
      });
    }
    const bytes = Number(config['retention.bytes'] ?? -1);
    if (bytes >= 0) {
      findings.push({
        kind: 'warning',
        what: `Topic ${topic} keeps ${bytes} bytes of each partition, however old they are.`,
        todo: `See that a partition gets less than that in ${ms(request.retentionNeededMs, { long: true })}, or raise retention.bytes: an audit that finds records gone has to begin anew.`,
      });
    }
    if (config['cleanup.policy']?.includes('compact') === true) {
      findings.push({
        kind: 'warning',
        what: `Topic ${topic} is compacted; OwlMQ gets every message and compacts nothing.`,
        todo: 'Make sure that consumers can do with all values of a key.',
      });
    }
  }
  return findings;
}
