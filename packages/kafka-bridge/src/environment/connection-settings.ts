import { readFileSync } from 'node:fs';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { tokenFromFile, tokenFromModule } from './oauth-token.js';

/** Settings by the name of their environment variable. Empty ones count as not set. */
export type ConnectionSettings = Readonly<Record<string, string | undefined>>;

/** Where problems go, a line each, and how a setting is called in them. */
export interface SettingProblems {
  add: (problem: string) => void;
  /** Name of a setting for the person who gave it, or could; by default that of the variable. */
  nameOf?: (variable: string) => string;
}

const passwordMechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;
const mechanisms = [...passwordMechanisms, 'oauthbearer'] as const;
type PasswordMechanism = (typeof passwordMechanisms)[number];

const BROKER = /^(\[[0-9a-f:]+\]|[^\s:,/]+):\d{1,5}$/i;

/**
 * How to reach Kafka, from `KAFKA_BROKERS`, `KAFKA_TLS`, `KAFKA_TLS_CA_FILE`, `KAFKA_TLS_CERT_FILE` with
 * `KAFKA_TLS_KEY_FILE`, `KAFKA_SASL_MECHANISM`, and for it `KAFKA_SASL_USERNAME` with `KAFKA_SASL_PASSWORD` or
 * `KAFKA_SASL_PASSWORD_FILE`, or `KAFKA_SASL_OAUTHBEARER_TOKEN_FILE` or `KAFKA_SASL_OAUTHBEARER_MODULE`. Undefined when
 * it tells of problems.
 */
export function kafkaFromSettings(
  settings: ConnectionSettings,
  clientId: string,
  problems: SettingProblems,
): KafkaConnection | undefined {
  const read = new SettingReader(settings, problems);
  const brokers = read.brokers();
  const ssl = read.tls();
  const sasl = read.sasl();
  if (read.failed) return undefined;
  const connection: KafkaConnection = { clientId, brokers };
  if (ssl !== undefined) connection.ssl = ssl;
  if (sasl !== undefined) connection.sasl = sasl;
  return connection;
}

/**
 * Where OwlMQ is, from `OWLMQ_URL`, and `OWLMQ_API_KEY` or `OWLMQ_API_KEY_FILE`. Undefined when it tells of problems.
 */
export function owlmqFromSettings(
  settings: ConnectionSettings,
  problems: SettingProblems,
): { url: string; apiKey: string } | undefined {
  const read = new SettingReader(settings, problems);
  const url = read.url(
    'OWLMQ_URL',
    'set it to the address of OwlMQ, for example https://owlmq.example; there is no default',
  );
  const apiKey = read.secret('OWLMQ_API_KEY');
  if (apiKey === undefined && read.text('OWLMQ_API_KEY_FILE') === undefined) {
    read.fail('OWLMQ_API_KEY', `is not set: set it, or ${read.nameOf('OWLMQ_API_KEY_FILE')}, to the key`);
  }
  if (read.failed || url === undefined || apiKey === undefined) return undefined;
  return { url, apiKey };
}

/** A secret, from the file that `VARIABLE_FILE` names, or else from the variable. Undefined when it tells of problems. */
export function secretFromSettings(
  settings: ConnectionSettings,
  variable: string,
  problems: SettingProblems,
): string | undefined {
  return new SettingReader(settings, problems).secret(variable);
}

class SettingReader {
  failed = false;
  readonly #settings: ConnectionSettings;
  readonly #problems: SettingProblems;

  constructor(settings: ConnectionSettings, problems: SettingProblems) {
    this.#settings = settings;
    this.#problems = problems;
  }

  nameOf(variable: string): string {
    return this.#problems.nameOf?.(variable) ?? variable;
  }

  fail(variable: string, problem: string): void {
    this.failed = true;
    this.#problems.add(`${this.nameOf(variable)} ${problem}`);
  }

  text(variable: string): string | undefined {
    const text = this.#settings[variable]?.trim();
    return text === '' ? undefined : text;
  }

  choice<T extends string>(variable: string, choices: readonly T[]): T | undefined {
    const given = this.text(variable);
    const found = choices.find((choice) => choice === given);
    if (given !== undefined && found === undefined) this.fail(variable, `is none of ${choices.join(', ')}`);
    return found;
  }

  brokers(): string[] {
    const given = this.text('KAFKA_BROKERS');
    if (given === undefined) {
      this.fail('KAFKA_BROKERS', 'is not set: set it to the brokers, for example kafka-1:9092,kafka-2:9092');
      return [];
    }
    const brokers = given.split(',').map((broker) => broker.trim());
    const wrong = brokers.filter((broker) => !BROKER.test(broker));
    if (wrong.length > 0) {
      this.fail('KAFKA_BROKERS', `is a comma list of HOST:PORT; ${wrong.map((one) => `"${one}"`).join(', ')} is none`);
    }
    return brokers;
  }

  url(variable: string, hint: string): string | undefined {
    const given = this.text(variable);
    if (given === undefined) {
      this.fail(variable, `is not set: ${hint}`);
      return undefined;
    }
    if (URL.canParse(given) && /^https?:$/.test(new URL(given).protocol)) return given;
    this.fail(variable, 'is no http or https address');
    return undefined;
  }

  file(variable: string): string | undefined {
    const file = this.text(variable);
    if (file === undefined) return undefined;
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      this.fail(variable, `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** From the file that `VARIABLE_FILE` names, or else the variable itself. */
  secret(variable: string): string | undefined {
    const file = `${variable}_FILE`;
    if (this.text(file) === undefined) return this.text(variable);
    const secret = this.file(file)?.trim();
    if (secret === '') this.fail(file, 'names an empty file');
    return secret;
  }

  tls(): KafkaConnection['ssl'] {
    const on = this.choice('KAFKA_TLS', ['true', 'false'] as const);
    const ca = this.file('KAFKA_TLS_CA_FILE');
    const cert = this.file('KAFKA_TLS_CERT_FILE');
    const key = this.file('KAFKA_TLS_KEY_FILE');
    const [certFile, keyFile] = ['KAFKA_TLS_CERT_FILE', 'KAFKA_TLS_KEY_FILE'] as const;
    if (this.text(certFile) !== undefined && this.text(keyFile) === undefined) {
      this.fail(certFile, `is set: ${this.nameOf(keyFile)} is needed too`);
    }
    if (this.text(keyFile) !== undefined && this.text(certFile) === undefined) {
      this.fail(keyFile, `is set: ${this.nameOf(certFile)} is needed too`);
    }
    if (ca === undefined && cert === undefined) return on === 'true' ? true : undefined;
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    };
  }

  sasl(): KafkaConnection['sasl'] {
    const mechanism = this.choice('KAFKA_SASL_MECHANISM', mechanisms);
    const username = this.text('KAFKA_SASL_USERNAME');
    const password = this.secret('KAFKA_SASL_PASSWORD');
    if (mechanism === undefined) {
      if (username !== undefined && this.text('KAFKA_SASL_MECHANISM') === undefined) {
        this.fail('KAFKA_SASL_MECHANISM', `is not set, and ${this.nameOf('KAFKA_SASL_USERNAME')} is`);
      }
      return undefined;
    }
    if (mechanism === 'oauthbearer') return this.oauthBearer();
    if (username === undefined || password === undefined) {
      const needed = [this.nameOf('KAFKA_SASL_USERNAME'), this.nameOf('KAFKA_SASL_PASSWORD')];
      this.fail('KAFKA_SASL_MECHANISM', `is set: ${needed.join(' and ')} (or its _FILE) are needed too`);
      return undefined;
    }
    return saslOptions(mechanism, username, password);
  }

  oauthBearer(): KafkaConnection['sasl'] {
    const [tokenFile, module] = ['KAFKA_SASL_OAUTHBEARER_TOKEN_FILE', 'KAFKA_SASL_OAUTHBEARER_MODULE'] as const;
    const given = [tokenFile, module].filter((variable) => this.text(variable) !== undefined);
    const [only] = given;
    if (only === undefined || given.length > 1) {
      const names = `${this.nameOf(tokenFile)} or ${this.nameOf(module)}`;
      this.fail('KAFKA_SASL_MECHANISM', `is oauthbearer: ${names} is needed, and not both`);
      return undefined;
    }
    // Looked at now, so that a wrong name is told at the start and not by the first connection.
    this.file(only);
    const file = this.text(only) ?? '';
    const oauthBearerProvider = only === module ? tokenFromModule(file) : tokenFromFile(file);
    return { mechanism: 'oauthbearer', oauthBearerProvider };
  }
}

/** One literal a mechanism: kafkajs's type is a union over it. */
function saslOptions(
  mechanism: PasswordMechanism,
  username: string,
  password: string,
): NonNullable<KafkaConnection['sasl']> {
  switch (mechanism) {
    case 'plain':
      return { mechanism: 'plain', username, password };
    case 'scram-sha-256':
      return { mechanism: 'scram-sha-256', username, password };
    case 'scram-sha-512':
      return { mechanism: 'scram-sha-512', username, password };
  }
}
