import type { Command } from 'commander';
import { ClusterAdmin } from '../../kafka/cluster-admin.js';
import { LogReader } from '../../kafka/log-reader.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { preflightRequest } from '../../playbook/index.js';
import type { PreflightRequest } from '../../playbook/preflight-request.js';
import type { Finding } from '../../preflight/finding.js';
import type { KafkaRole } from '../../preflight/kafka-roles.js';
import type { RightsRequest } from '../../preflight/needed-rights.js';
import { preflight, silence, type Preflight } from '../../preflight/preflight.js';
import { missingRights } from '../../preflight/right-findings.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput, readOwlmq } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { readMigrationInput } from '../migration-input-file.js';
import { readRole } from '../role-flags.js';
import { withRouting } from '../routing/open-routing.js';
import { plural, printable } from '../words.js';

const CLIENT_ID = 'kafka-bridge';
const KINDS = ['input', 'state', 'warning'] as const;

/** What `preflight` does. */
export async function preflightAction(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const { migration = '' } = command.opts<{ migration?: string }>();
  const output = readOutput(command, inputs);
  const connection = readKafka(command, inputs);
  const plan = await readMigrationInput(command, inputs);
  const { role, rights } = readRole(command, inputs, plan);
  const owlmqAt = role === 'worker' ? readOwlmq(command, inputs, io) : undefined;
  inputs.settle();
  if (plan === undefined || connection === undefined) throw new Error('there is no input');

  const found =
    owlmqAt === undefined
      ? await preflightRights(role, rights, connection)
      : await everything(preflightRequest(plan, migration), connection, owlmqAt);
  const findings = KINDS.flatMap((kind) => found.findings.filter((finding) => finding.kind === kind));
  if (output === 'json') {
    const { topics, unreachable } = found;
    io.out(`${JSON.stringify({ version: 1, findings, topics, unreachable }, undefined, 2)}\n`);
  } else io.out(inWords(findings));
  if (found.unreachable.length > 0) return EXIT.unreachable;
  return findings.every(({ kind }) => kind === 'warning') ? EXIT.ok : EXIT.differences;
}

async function everything(
  request: PreflightRequest,
  connection: KafkaConnection,
  owlmqAt: { url: string; apiKey: string },
): Promise<Preflight> {
  const admin = new ClusterAdmin(connection, { clientId: CLIENT_ID });
  const reader = new LogReader(connection, { clientId: CLIENT_ID });
  const owlmq = new OwlmqClient(owlmqAt);
  try {
    return await withRouting(connection, (routing) => preflight(request, { admin, reader, routing, owlmq }));
  } finally {
    await Promise.all([admin.close(), reader.close(), owlmq.close()]);
  }
}

async function preflightRights(
  role: KafkaRole,
  rights: RightsRequest,
  connection: KafkaConnection,
): Promise<Omit<Preflight, 'epoch'>> {
  const admin = new ClusterAdmin(connection, { clientId: CLIENT_ID });
  try {
    const { findings } = await missingRights(role, rights, admin);
    return { findings, topics: {}, unreachable: [] };
  } catch (error) {
    return { findings: [silence('Kafka', error)], topics: {}, unreachable: ['kafka'] };
  } finally {
    await admin.close();
  }
}

function inWords(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'Nothing is in the way.\n';
  const lines = findings.map(
    ({ kind, what, todo }) => `${kind.padEnd(7)}  ${printable(what)}\n         ${printable(todo)}\n`,
  );
  const obstacles = findings.filter(({ kind }) => kind !== 'warning').length;
  const summary =
    obstacles === 0 ? 'Nothing is in the way.' : `${plural(obstacles, 'finding')} in the way of this migration.`;
  return `${lines.join('')}\n${summary}\n`;
}
