import { Context } from '@temporalio/activity';
import { preflight, type Finding } from '@owlmq/kafka-bridge/operations';
import ms from 'ms';
import { clockFindings } from './clock-findings.js';
import type { Dependencies } from './dependencies.js';
import type { MigrationActivities, PreflightRequest } from './migration-activities.js';

/** Search attributes that the workflow sets when the namespace has them, with their types. */
const SEARCH_ATTRIBUTES = {
  MigrationPhase: 'Keyword',
  MigrationRatio: 'Double',
  MigrationBlocked: 'Bool',
  MigrationAttention: 'Keyword',
} as const;

/** Attempts that a system may be silent in: a leader that is just elected is no finding. */
const SILENT_ATTEMPTS = 3;

/** The step that looks before the start. */
export function preflightActivities(dependencies: Dependencies): Pick<MigrationActivities, 'preflight'> {
  const { roster, webhooks, temporal } = dependencies;
  return {
    preflight: async (request) => {
      const [{ findings, topics, epoch, unreachable }, namespace] = await Promise.all([
        preflight(request, dependencies),
        temporal(),
      ]);
      if (unreachable.length > 0 && Context.current().info.attempt < SILENT_ATTEMPTS) {
        throw new Error(findings.map(({ what }) => what).join(' '));
      }
      const known = namespace.searchAttributes;
      return {
        findings: [
          ...findings,
          ...clockFindings(roster.members(request.migration), Date.now()),
          ...webhookFindings(request, webhooks),
          ...attributeFindings(known),
          ...retentionFindings(request, namespace),
        ],
        topics,
        epoch,
        searchAttributes: Object.keys(SEARCH_ATTRIBUTES).filter((name) => known.includes(name)),
      };
    },
  };
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

function attributeFindings(known: readonly string[]): Finding[] {
  return Object.entries(SEARCH_ATTRIBUTES)
    .filter(([name]) => !known.includes(name))
    .map(([name, type]) => ({
      kind: 'warning',
      what: `The Temporal namespace has no search attribute ${name}; the run goes on without it.`,
      todo: `temporal operator search-attribute create --name ${name} --type ${type}`,
    }));
}

/** A long run continues as new, so that its first parts have ended long before it has. */
function retentionFindings(
  { retentionNeededMs }: PreflightRequest,
  { namespace, retentionMs }: Awaited<ReturnType<Dependencies['temporal']>>,
): Finding[] {
  if (retentionMs === undefined || retentionMs >= retentionNeededMs) return [];
  const days = Math.ceil(retentionNeededMs / 86_400_000);
  return [
    {
      kind: 'warning',
      what: `The Temporal namespace ${namespace} keeps what has ended for ${ms(retentionMs, { long: true })}, less than this migration takes: its first parts are gone before it ends.`,
      todo: `temporal operator namespace update --namespace ${namespace} --retention ${days}d`,
    },
  ];
}
