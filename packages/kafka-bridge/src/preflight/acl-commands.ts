import type { NeededRight } from './needed-rights.js';

/** Stands in commands for a principal that is not known. */
export const SOME_PRINCIPAL = 'User:NAME';

/**
 * Commands of Kafka's own tool that grant rights to a principal, such as `User:worker`: one for all that is granted on
 * the same resources. They take the brokers from `KAFKA_BROKERS`, and how an administrator connects from a file.
 */
export function aclCommands(rights: readonly NeededRight[], principal: string): string[] {
  const commands = new Map<string, { right: NeededRight; operations: string[] }>();
  for (const right of rights) {
    const of = JSON.stringify([right.resource, right.pattern, right.names]);
    const { operations } = commands.get(of) ?? { operations: [] };
    commands.set(of, { right, operations: [...operations, right.operation] });
  }
  return [...commands.values()].map(({ right: { resource, names, pattern }, operations }) =>
    [
      'kafka-acls.sh --bootstrap-server "$KAFKA_BROKERS" --command-config admin.properties',
      `--add --allow-principal ${quoted(principal)}`,
      ...operations.map((operation) => `--operation ${operation}`),
      ...names.map((name) => `--${resource} ${quoted(name)}`),
      ...(pattern === 'prefixed' ? ['--resource-pattern-type prefixed'] : []),
    ].join(' '),
  );
}

/** For a shell. */
function quoted(text: string): string {
  return /^[\w.:=,@/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
