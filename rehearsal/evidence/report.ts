import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Verdict } from '../invariants.js';
import type { RehearsedScenario } from '../rehearse.js';
import { buildEvidence, type Evidence } from './evidence.js';
import { evidenceMarkdown, table } from './markdown.js';
import type { RecordedMigration } from './recorded-migration.js';

export interface Versions {
  project: string;
  temporalSdk: string;
  node: string;
}

/** What is written for a rehearsal; raise `version` with any change that a reader of the JSON would notice. */
export interface RehearsalReport {
  version: 1;
  kind: 'rehearsal';
  generatedAt: string;
  versions: Versions;
  seed: number;
  ok: boolean;
  provesNot: readonly string[];
  scenarios: {
    name: string;
    what: string;
    ends: string;
    given: RehearsedScenario['given'];
    invariants: Verdict[];
    evidence: Evidence;
  }[];
}

/** The same for a migration that has run, or runs, in a Temporal of yours. */
export interface MigrationReport {
  version: 1;
  kind: 'migration' | 'rehearsed migration';
  generatedAt: string;
  versions: Versions;
  evidence: Evidence;
}

const PROVES_NOT = [
  'A rehearsal runs the workflow with your input, days included, against systems and a fleet that are a model. It shows what the playbook does, in which order, how long it holds publishers when members follow at once, and that it comes out right when a window is over, a publisher dies, or OwlMQ does.',
  'It says nothing of your Kafka, your OwlMQ, your network, your services, their traffic, and how long your groups take to drain: not whether topics and groups exist, credentials suffice, retention is long enough, handlers are deterministic, or a window of this length suffices. Preflight, the soak and the readiness checks of the real run do.',
];

const NO_SECRETS =
  'It holds nothing but what the histories and the status of the workflow hold. No payload of a message, no address and no secret is in those.';

export function rehearsalReport(
  seed: number,
  scenarios: readonly RehearsedScenario[],
  versions: Versions,
): RehearsalReport {
  const told = scenarios.map(({ scenario, given, invariants, migration }) => {
    const evidence = buildEvidence(migration);
    const queues = Object.keys(evidence.taskQueues);
    const apart: Verdict = {
      name: 'every activity was scheduled where no worker with connections polls',
      ok: queues.every((queue) => queue.endsWith('-rehearsal')),
      detail: queues.join(', '),
    };
    return { ...scenario, given, invariants: [...invariants, apart], evidence };
  });
  return {
    version: 1,
    kind: 'rehearsal',
    generatedAt: new Date().toISOString(),
    versions,
    seed,
    ok: told.every(({ invariants }) => invariants.every(({ ok }) => ok)),
    provesNot: PROVES_NOT,
    scenarios: told,
  };
}

export function rehearsalMarkdown({ generatedAt, versions, seed, ok, provesNot, scenarios }: RehearsalReport): string {
  const [first] = scenarios;
  const topics = (first?.evidence.status?.topics ?? []).join(', ');
  const lines = [
    '# Rehearsal of a migration from Kafka to OwlMQ',
    '',
    `**${ok ? 'Passed' : 'NOT PASSED'}**: topics ${topics}, groups ${(first?.evidence.status?.groups ?? []).join(', ')}. Made ${generatedAt} with seed ${seed}; ${versionWords(versions)}.`,
    '',
    ...provesNot,
    '',
    NO_SECRETS,
    '',
    table(
      ['scenario', 'ends as', 'verdict', 'took, on its clock', 'longest hold of publishers', 'what befell it'],
      scenarios.map(({ name, ends, invariants, evidence, what }) => [
        ...[name, evidence.status?.phase ?? evidence.workflow.outcome],
        invariants.every((one) => one.ok) ? 'passed' : `NOT PASSED: not ${ends}, or an invariant broken`,
        days(evidence.workflow.durationMs),
        `${(Math.max(0, ...evidence.holds.map(({ durationMs }) => durationMs ?? 0)) / 1_000).toFixed(1)} s`,
        what,
      ]),
    ),
  ];
  for (const { name, what, given, invariants, evidence } of scenarios) {
    lines.push('', `## ${name}`, '', what, '');
    lines.push(
      table(
        ['what must hold', 'verdict', 'detail'],
        invariants.map((one) => [one.name, one.ok ? 'holds' : 'DOES NOT HOLD', one.detail]),
      ),
    );
    lines.push(
      '',
      given.length === 0 ? 'Nobody was asked for anything.' : 'Given by the rehearsal in place of people:',
      '',
    );
    lines.push(...given.map(({ at, what: gave }) => `- ${at} ${gave}`), '', evidenceMarkdown(evidence, 3));
  }
  return `${lines
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()}\n`;
}

export function migrationReport(recorded: RecordedMigration, versions: Versions): MigrationReport {
  const evidence = buildEvidence(recorded);
  const kind = evidence.status?.rehearsal === true ? 'rehearsed migration' : 'migration';
  return { version: 1, kind, generatedAt: new Date().toISOString(), versions, evidence };
}

function migrationMarkdown({ kind, generatedAt, versions, evidence }: MigrationReport): string {
  const lines = [
    `# Evidence of a ${kind} from Kafka to OwlMQ`,
    '',
    `Made ${generatedAt}; ${versionWords(versions)}.`,
    ...(kind === 'migration' ? [] : ['', ...PROVES_NOT]),
    '',
    NO_SECRETS,
    '',
    evidenceMarkdown(evidence),
  ];
  return `${lines
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()}\n`;
}

/** Writes both into a folder, which is made where there is none. @returns their paths. */
export async function writeReport(
  folder: string,
  name: string,
  report: RehearsalReport | MigrationReport,
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const files = { json: path.join(folder, `${name}.json`), markdown: path.join(folder, `${name}.md`) };
  await writeFile(files.json, `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(files.markdown, report.kind === 'rehearsal' ? rehearsalMarkdown(report) : migrationMarkdown(report));
  return [files.markdown, files.json];
}

export async function readVersions(): Promise<Versions> {
  const root = createRequire(import.meta.url);
  const versionIn = async (file: string): Promise<string> =>
    (JSON.parse(await readFile(file, 'utf8')) as { version: string }).version;
  return {
    project: await versionIn(await packageFile()),
    temporalSdk: await versionIn(root.resolve('@temporalio/workflow/package.json')),
    node: process.version,
  };
}

/** Compiled, this module is a folder deeper than its source. */
async function packageFile(): Promise<string> {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    const found = await readFile(file, 'utf8').catch(() => undefined);
    if (found !== undefined) return file;
    if (folder === path.dirname(folder)) throw new Error('the package.json of this project was not found');
  }
}

function versionWords({ project, temporalSdk, node }: Versions): string {
  return `kafka-to-owlmq ${project}, Temporal SDK ${temporalSdk}, Node ${node}`;
}

function days(durationMs: number | null): string {
  return durationMs === null ? '' : `${(durationMs / 86_400_000).toFixed(1)} days`;
}
