import { Option, type Command } from 'commander';
import { kafkaFromSettings, owlmqFromSettings, type ConnectionSettings } from '../environment/connection-settings.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import type { CliIo } from './cli-io.js';
import { takeConfigProblems } from './config-file.js';
import type { Inputs } from './inputs.js';

/** What a flag that is on or off may be followed by. */
export const SWITCH_VALUE = ' [true|false]';

/** Flags of a connection with the variable that each stands for: those of the worker. */
const kafkaFlags: readonly (readonly [flags: string, variable: string, description: string])[] = [
  ['--kafka-brokers <list>', 'KAFKA_BROKERS', 'brokers, HOST:PORT with commas between them'],
  [`--kafka-tls${SWITCH_VALUE}`, 'KAFKA_TLS', "TLS with the system's authorities"],
  ['--kafka-tls-ca-file <file>', 'KAFKA_TLS_CA_FILE', 'TLS with the authorities of a PEM file'],
  ['--kafka-tls-cert-file <file>', 'KAFKA_TLS_CERT_FILE', 'certificate of this client, PEM'],
  ['--kafka-tls-key-file <file>', 'KAFKA_TLS_KEY_FILE', 'its private key, PEM'],
  ['--kafka-sasl-mechanism <name>', 'KAFKA_SASL_MECHANISM', 'plain, scram-sha-256, scram-sha-512 or oauthbearer'],
  ['--kafka-sasl-username <name>', 'KAFKA_SASL_USERNAME', 'user of SASL'],
  [
    '--kafka-sasl-password-file <file>',
    'KAFKA_SASL_PASSWORD_FILE',
    'file with the password; or set KAFKA_SASL_PASSWORD',
  ],
  [
    '--kafka-sasl-oauthbearer-token-file <file>',
    'KAFKA_SASL_OAUTHBEARER_TOKEN_FILE',
    'file with the token, read anew at each need',
  ],
  [
    '--kafka-sasl-oauthbearer-module <file>',
    'KAFKA_SASL_OAUTHBEARER_MODULE',
    'ES module that exports token(), a function that resolves with one',
  ],
];
const owlmqFlags: typeof kafkaFlags = [
  ['--owlmq-url <url>', 'OWLMQ_URL', 'address of OwlMQ; there is no default'],
  ['--owlmq-api-key <key>', 'OWLMQ_API_KEY', 'key of OwlMQ; better by environment or file'],
  ['--owlmq-api-key-file <file>', 'OWLMQ_API_KEY_FILE', 'file with the key'],
];

const CONNECTIONS = 'Connections:';

/** A flag that its environment variable gives, too. */
export function option(flags: string, description: string, variable: string): Option {
  return new Option(flags, description).env(variable);
}

/** A flag that is on or off, and that its variable can turn off, too. Read it with `Inputs.on`. */
export function switchOption(flag: string, description: string, variable: string): Option {
  return option(`${flag}${SWITCH_VALUE}`, description, variable).preset('true');
}

/** Adds the flags of the connection to Kafka. */
export function withKafka(command: Command): Command {
  return addFlags(command.optionsGroup(CONNECTIONS), kafkaFlags);
}

/** Adds the flags of the connection to OwlMQ. */
export function withOwlmq(command: Command): Command {
  return addFlags(command.optionsGroup(CONNECTIONS), owlmqFlags);
}

export function withOutput(command: Command): Command {
  return command.addOption(option('--output <format>', 'table or json', 'KAFKA_BRIDGE_OUTPUT').default('table'));
}

/** How results are to be printed. */
export function readOutput(command: Command, inputs: Inputs): 'table' | 'json' {
  return inputs.choice('--output', command.opts<{ output: string }>().output, ['table', 'json']) ?? 'table';
}

/** The connection to Kafka that was asked for; undefined when its problems were added to the inputs. */
export function readKafka(command: Command, inputs: Inputs): KafkaConnection | undefined {
  const given: Record<string, string | undefined> = settings(command, kafkaFlags, inputs);
  // A password on the command line would be seen by everybody on the machine.
  const { KAFKA_SASL_PASSWORD } = process.env;
  // The environment goes before the file of flags.
  const inConfig = command.getOptionValueSource('kafkaSaslPasswordFile') === 'config';
  if (inConfig && (KAFKA_SASL_PASSWORD ?? '') !== '') delete given['KAFKA_SASL_PASSWORD_FILE'];
  return kafkaFromSettings({ ...given, KAFKA_SASL_PASSWORD }, 'kafka-bridge', {
    add: (problem) => {
      inputs.add(problem);
    },
    nameOf: nameOf(kafkaFlags),
  });
}

/** Where OwlMQ is, and its key; undefined when the problems with it were added to the inputs. */
export function readOwlmq(command: Command, inputs: Inputs, io: CliIo): { url: string; apiKey: string } | undefined {
  const given: Record<string, string | undefined> = settings(command, owlmqFlags, inputs);
  const [key, file] = ['owlmqApiKey', 'owlmqApiKeyFile'].map((attribute) => command.getOptionValueSource(attribute));
  if (key === 'cli') {
    io.err(
      'Warning: a key on the command line is seen by everybody on this machine and kept by the shell. Set OWLMQ_API_KEY or OWLMQ_API_KEY_FILE.\n',
    );
  }
  if (key === file && (key === 'cli' || key === 'config')) {
    inputs.add('--owlmq-api-key and --owlmq-api-key-file exclude each other');
  }
  // What was typed goes before the environment, and that before the file of flags.
  const typed = key === 'cli';
  if (typed || (key === 'env' && file === 'config' && given['OWLMQ_API_KEY'] !== '')) {
    delete given['OWLMQ_API_KEY_FILE'];
  }
  return owlmqFromSettings(given, {
    add: (problem) => {
      inputs.add(problem);
    },
    nameOf: nameOf(owlmqFlags),
  });
}

/** As `readOwlmq`, for commands that do without: undefined, too, when no address was given at all. */
export function readOwlmqIfGiven(
  command: Command,
  inputs: Inputs,
  io: CliIo,
): { url: string; apiKey: string } | undefined {
  return settings(command, owlmqFlags, inputs)['OWLMQ_URL'] === undefined ? undefined : readOwlmq(command, inputs, io);
}

function addFlags(command: Command, flags: typeof kafkaFlags): Command {
  for (const [flag, variable, description] of flags) {
    const added = option(flag, description, variable);
    command.addOption(added.optional ? added.preset('true') : added);
  }
  return command;
}

function settings(command: Command, flags: typeof kafkaFlags, inputs: Inputs): ConnectionSettings {
  // Every command has a connection: here they are sure to be told.
  for (const problem of takeConfigProblems(command)) inputs.add(problem);
  const values = command.opts<Record<string, string | undefined>>();
  return Object.fromEntries(flags.map(([flag, variable]) => [variable, values[new Option(flag).attributeName()]]));
}

function nameOf(flags: typeof kafkaFlags): (variable: string) => string {
  return (variable) => {
    const flag = flags.find(([, known]) => known === variable)?.[0];
    return flag === undefined ? variable : `${flag.split(' ')[0] ?? flag} (${variable})`;
  };
}
