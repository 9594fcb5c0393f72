import type { Anomalies } from './anomalies.js';
import type { Counts, Evidence } from './check.js';

/** Deviations from the share beyond this many standard deviations do not happen by chance. */
const SIGMAS = 5;

/**
 * Whether a copy was intended, as the records on Kafka say: the share among messages without a key must be the ratio,
 * and a key that is copied at one ratio must be copied at every higher one.
 */
export function checkCopyDecisions(evidence: Evidence, anomalies: Anomalies): Counts['shares'] {
  const shares: Record<string, { messages: number; copied: number }> = {};
  const keys = new Map<string, { lowestCopied: number; highestNot: number }>();
  const seen = new Set<string>();
  for (const { id, epoch, copied, byAudit } of evidence.kafka) {
    const route = evidence.routes.get(epoch);
    const publication = evidence.publications.get(id);
    if (route?.primary !== 'kafka' || publication === undefined || byAudit || seen.has(id)) continue;
    seen.add(id);
    const { ratio } = route;
    if (publication.key === null) {
      const share = (shares[String(ratio)] ??= { messages: 0, copied: 0 });
      share.messages++;
      if (copied) share.copied++;
      continue;
    }
    const bounds = keys.get(publication.key) ?? { lowestCopied: Infinity, highestNot: -Infinity };
    keys.set(publication.key, bounds);
    if (copied) bounds.lowestCopied = Math.min(bounds.lowestCopied, ratio);
    else bounds.highestNot = Math.max(bounds.highestNot, ratio);
  }
  for (const [key, { lowestCopied, highestNot }] of keys) {
    if (highestNot < lowestCopied) continue;
    anomalies.note('key-not-kept', key, `copied at ratio ${lowestCopied}, not copied at ${highestNot}`);
  }
  for (const [ratio, { messages, copied }] of Object.entries(shares)) {
    const expected = messages * Number(ratio);
    const allowed = SIGMAS * Math.sqrt(expected * (1 - Number(ratio)));
    if (Math.abs(copied - expected) <= allowed) continue;
    anomalies.note('wrong-share', `ratio ${ratio}`, `${copied} of ${messages} messages without a key are copied`);
  }
  return shares;
}
