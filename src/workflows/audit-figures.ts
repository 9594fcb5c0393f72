import type { AuditFigures } from '../activities/migration-activities.js';

/** Of an audit that has seen nothing. */
export const noAuditFigures: AuditFigures = {
  kafkaMessages: 0,
  kafkaBytes: 0,
  owlmqMessages: 0,
  owlmqBytes: 0,
  missing: 0,
  repaired: 0,
  inversions: 0,
  foreign: {},
  forwarded: {},
};

export function addFigures(one: AuditFigures, other: AuditFigures): AuditFigures {
  return combine(one, other, 1);
}

/** What was counted between two looks at the same audit. */
export function figuresSince(now: AuditFigures, before: AuditFigures): AuditFigures {
  return combine(now, before, -1);
}

function combine(one: AuditFigures, other: AuditFigures, sign: 1 | -1): AuditFigures {
  return {
    kafkaMessages: one.kafkaMessages + sign * other.kafkaMessages,
    kafkaBytes: one.kafkaBytes + sign * other.kafkaBytes,
    owlmqMessages: one.owlmqMessages + sign * other.owlmqMessages,
    owlmqBytes: one.owlmqBytes + sign * other.owlmqBytes,
    missing: one.missing + sign * other.missing,
    repaired: one.repaired + sign * other.repaired,
    inversions: one.inversions + sign * other.inversions,
    foreign: byTopic(one.foreign, other.foreign, sign),
    forwarded: byTopic(one.forwarded, other.forwarded, sign),
  };
}

function byTopic(one: Record<string, number>, other: Record<string, number>, sign: 1 | -1): Record<string, number> {
  const topics = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  return Object.fromEntries(topics.map((topic) => [topic, (one[topic] ?? 0) + sign * (other[topic] ?? 0)]));
}

/**
 * Copies that publishers made, or were to make. Records that the bridge forwards are never missing, and must not hide by
 * their number that those of publishers are.
 */
export function publishersCopies({ owlmqMessages, forwarded }: AuditFigures): number {
  return owlmqMessages - Object.values(forwarded).reduce((sum, count) => sum + count, 0);
}
