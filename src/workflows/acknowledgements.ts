import type { AcknowledgedPattern, DiscrepancyVerdict } from '@owlmq/kafka-bridge/operations';
import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { Acknowledgement, MigrationState, Request } from './migration-state.js';
import { isText, textProblems } from './texts.js';

/** What the `acknowledge` update takes: a pattern of discrepancies, why they are all right, and who says so. */
export interface AcknowledgeInput extends AcknowledgedPattern {
  reason: string;
  by: string;
}

/** What the `revokeAcknowledgement` update takes. */
export interface RevokeInput {
  id: string;
  reason: string;
  by: string;
}

const verdicts: Record<DiscrepancyVerdict, true> = {
  different: true,
  missing: true,
  unexpected: true,
  failedLive: true,
  failedShadow: true,
  reordered: true,
};
const known = ['group', 'verdict', 'topic', 'fields', 'handlerVersion', 'reason', 'by'];

/** Bounds that keep the state, which is handed over whole, small. */
const MAX_ACTIVE = 50;
const MAX_KEPT = 200;
const MAX_FIELDS = 64;

/** Why the input is refused, all problems at once; undefined when it is not. */
export function acknowledgeRefusal(plan: MigrationPlan, state: MigrationState, input: unknown): string | undefined {
  if (typeof input !== 'object' || input === null) return 'it takes {"group", "verdict", "reason", "by"}.';
  const given = input as Record<string, unknown>;
  const { group, verdict, topic, fields, handlerVersion } = given;
  const problems = [...textProblems(given, ['reason', 'by'])];
  const unknown = Object.keys(given).filter((name) => !known.includes(name));
  // A misspelt field would widen the pattern without a word.
  if (unknown.length > 0) problems.push(`not known: ${unknown.join(', ')}; known: ${known.join(', ')}`);
  if (typeof group !== 'string' || !plan.groups.includes(group)) {
    problems.push(`group must be one of ${plan.groups.join(', ')}`);
  }
  if (typeof verdict !== 'string' || !Object.hasOwn(verdicts, verdict)) {
    problems.push(`verdict must be one of ${Object.keys(verdicts).join(', ')}`);
  }
  if (topic !== undefined && (typeof topic !== 'string' || !plan.topics.includes(topic))) {
    problems.push(`topic must be one of ${plan.topics.join(', ')}, or absent`);
  }
  if (handlerVersion !== undefined && !isText(handlerVersion)) problems.push('handlerVersion must be text, or absent');
  if (fields !== undefined) {
    const pointers =
      Array.isArray(fields) && fields.length > 0 && fields.length <= MAX_FIELDS && fields.every(isPointer);
    if (!pointers) problems.push(`fields must be 1 to ${MAX_FIELDS} JSON pointers, as "/total", or absent`);
    else if (verdict !== 'different') problems.push('fields are told of "different" alone');
  }
  if (active(state).length >= MAX_ACTIVE) problems.push(`${MAX_ACTIVE} patterns are acknowledged already: revoke some`);
  return problems.length === 0 ? undefined : `${problems.join('; ')}.`;
}

export function acknowledge(state: MigrationState, input: AcknowledgeInput, at: string): Acknowledgement {
  const { reason, by, ...pattern } = input;
  const kept = state.acknowledgements ?? [];
  const last = Math.max(0, ...kept.map(({ id }) => Number(id.slice(ID_PREFIX.length))));
  const taken: Acknowledgement = { id: `${ID_PREFIX}${last + 1}`, pattern, reason, by, at };
  // Of what is revoked only the latest is kept here; all of it is in the history.
  const gone = kept.length < MAX_KEPT ? undefined : kept.find(({ revoked }) => revoked !== undefined);
  state.acknowledgements = [...kept.filter((one) => one !== gone), taken];
  return taken;
}

/** Why the input is refused; undefined when it is not. */
export function revokeRefusal(state: MigrationState, input: unknown): string | undefined {
  if (typeof input !== 'object' || input === null) return 'it takes {"id", "reason", "by"}.';
  const problems = textProblems(input as Record<string, unknown>, ['id', 'reason', 'by']);
  const ids = active(state).map(({ id }) => id);
  const { id } = input as { id?: unknown };
  if (!ids.some((one) => one === id)) problems.push(`id must be one of those in force: ${ids.join(', ') || 'none is'}`);
  return problems.length === 0 ? undefined : `${problems.join('; ')}.`;
}

export function revoke(state: MigrationState, { id, reason, by }: RevokeInput, at: string): void {
  const revoked: Request = { reason, by, at };
  state.acknowledgements = (state.acknowledgements ?? []).map((one) => (one.id === id ? { ...one, revoked } : one));
}

/** The patterns in force. */
export function activePatterns(state: MigrationState): AcknowledgedPattern[] {
  return active(state).map(({ pattern }) => pattern);
}

export function patternWords({ group, verdict, topic, fields, handlerVersion }: AcknowledgedPattern): string {
  return [
    `group ${group}, ${verdict}`,
    ...(topic === undefined ? [] : [`topic ${topic}`]),
    ...(fields === undefined ? [] : [`in ${fields.join(', ')}`]),
    ...(handlerVersion === undefined ? [] : [`handler version ${handlerVersion}`]),
  ].join(', ');
}

const ID_PREFIX = 'ack-';

function active({ acknowledgements = [] }: MigrationState): Acknowledgement[] {
  return acknowledgements.filter(({ revoked }) => revoked === undefined);
}

/** The empty pointer, which is the whole, is no narrower than none. */
function isPointer(value: unknown): boolean {
  return isText(value) && value.startsWith('/');
}
