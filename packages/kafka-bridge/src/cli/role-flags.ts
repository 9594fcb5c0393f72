import type { Command } from 'commander';
import { kafkaRoles, type KafkaRole } from '../preflight/kafka-roles.js';
import type { RightsRequest } from '../preflight/needed-rights.js';
import type { MigrationPlan } from '../playbook/index.js';
import { option } from './connections.js';
import type { Inputs } from './inputs.js';

/** Adds the flags that say whose rights in Kafka are meant. */
export function withRole(command: Command): Command {
  return command
    .addOption(
      option('--as <role>', `whose rights: ${kafkaRoles.join(', ')}`, 'KAFKA_BRIDGE_AS').default('worker' as const),
    )
    .addOption(
      option('--topics <list>', 'those that a service uses (default: all of the input)', 'KAFKA_BRIDGE_TOPICS'),
    )
    .addOption(
      option('--groups <list>', 'those that a service consumes in (default: all of the input)', 'KAFKA_BRIDGE_GROUPS'),
    );
}

/** Who is meant, and with what of the migration it has to do. */
export function readRole(
  command: Command,
  inputs: Inputs,
  plan: MigrationPlan | undefined,
): { role: KafkaRole; rights: RightsRequest } {
  const given = command.opts<{ as: string; topics?: string; groups?: string }>();
  const role = inputs.choice('--as', given.as, kafkaRoles) ?? 'worker';
  const some = (flag: 'topics' | 'groups'): readonly string[] => {
    const all = plan?.[flag] ?? [];
    const named = inputs.list(given[flag]);
    if (named.length === 0) return all;
    if (role === 'worker') inputs.add(`--${flag} is for --as publisher and consumer: the worker needs all`);
    const others = named.filter((name) => !all.includes(name));
    if (plan !== undefined && others.length > 0) inputs.add(`--${flag}: the input has no ${others.join(', ')}`);
    return named;
  };
  return { role, rights: { topics: some('topics'), groups: some('groups'), noise: (plan?.noise.duration ?? 0) > 0 } };
}
