import { pbkdf2Sync, randomBytes } from 'node:crypto';
import {
  AclOperations,
  AclPermissionTypes,
  Admin,
  alterUserScramCredentialsV0,
  ResourcePatternTypes,
  ResourceTypes,
} from '@platformatic/kafka';
import getPort from 'get-port';
import { generate } from 'selfsigned';
import type { NeededRight } from '../src/preflight/needed-rights.js';
import { PrivateBroker } from './private-broker.js';

/** Certificate and private key, PEM. */
export interface KeyPair {
  cert: string;
  key: string;
}

/** An authority with a certificate of the broker, and one of a client. */
interface Certificates {
  ca: string;
  broker: KeyPair;
  client: KeyPair;
}

/** Users of SASL/PLAIN and SCRAM by name, with their passwords. */
export type Users = Readonly<Record<string, string>>;

/** A session has to be authenticated again after this, ms; kafkajs does so ten seconds before. */
const SESSION_MS = 15_000;
const operations = {
  Read: AclOperations.READ,
  Write: AclOperations.WRITE,
  Create: AclOperations.CREATE,
  Describe: AclOperations.DESCRIBE,
  DescribeConfigs: AclOperations.DESCRIBE_CONFIGS,
} as const;
const SCRAM_ITERATIONS = 4_096;
const SCRAM = [
  { mechanism: 1, digest: 'sha256', bytes: 32 },
  { mechanism: 2, digest: 'sha512', bytes: 64 },
] as const;
const EC = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const;

/**
 * A broker with TLS, SASL and ACLs: one port for PLAIN, SCRAM and OAUTHBEARER (unsecured tokens, as Kafka has them for
 * tests), one for clients with certificates. Whoever comes by its plain port is its super user. Nobody else may do
 * anything unless it is granted.
 */
export class SecureBroker {
  static async start(users: Users): Promise<SecureBroker> {
    const [certificates, sasl] = await Promise.all([certify(), getPort({ host: '127.0.0.1' })]);
    const mutual = await getPort({ host: '127.0.0.1', exclude: [sasl] });
    const broker = await PrivateBroker.start({
      listeners: [sasl, mutual].map((port) => ({ port, advertisedPort: port })),
      properties: properties(certificates, users),
    });
    const admin = new Admin({ clientId: 'secure-broker', bootstrapBrokers: broker.brokers, retries: 3 });
    await addScramUsers(admin, users);
    return new SecureBroker(broker, admin, certificates, {
      sasl: [`127.0.0.1:${sasl}`],
      mutual: [`127.0.0.1:${mutual}`],
    });
  }

  private constructor(
    private readonly broker: PrivateBroker,
    private readonly admin: Admin,
    readonly certificates: Certificates,
    readonly brokers: { readonly sasl: string[]; readonly mutual: string[] },
  ) {}

  /** Brokers of the super user. */
  get open(): string[] {
    return this.broker.brokers;
  }

  async grant(user: string, rights: readonly NeededRight[]): Promise<void> {
    await this.admin.createAcls({ creations: rights.flatMap((right) => acls(user, right)) });
  }

  async revoke(user: string, rights: readonly NeededRight[]): Promise<void> {
    await this.admin.deleteAcls({ filters: rights.flatMap((right) => acls(user, right)) });
  }

  async stop(): Promise<void> {
    await this.admin.close();
    await this.broker.remove();
  }
}

/** A token that Kafka's validator for tests takes. */
export function unsecuredToken(subject: string, lifetimeMs: number, now = Date.now()): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub: subject, iat: now / 1_000, exp: (now + lifetimeMs) / 1_000 };
  return `${part({ alg: 'none' })}.${part(claims)}.`;
}

function acls(user: string, { operation, resource, names, pattern }: NeededRight) {
  return names.map((resourceName) => ({
    resourceType: resource === 'topic' ? ResourceTypes.TOPIC : ResourceTypes.GROUP,
    resourceName,
    resourcePatternType: pattern === 'prefixed' ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
    principal: `User:${user}`,
    host: '*',
    operation: operations[operation],
    permissionType: AclPermissionTypes.ALLOW,
  }));
}

async function addScramUsers(admin: Admin, users: Users): Promise<void> {
  const [connection] = (await admin.connectToBrokers()).values();
  if (connection === undefined) throw new Error('The broker is not there.');
  // Kafka takes one mechanism of a user a request.
  for (const { mechanism, digest, bytes } of SCRAM) {
    const credentials = Object.entries(users).map(([name, password]) => {
      const salt = randomBytes(16);
      const saltedPassword = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, bytes, digest);
      return { name, mechanism, iterations: SCRAM_ITERATIONS, salt, saltedPassword };
    });
    await alterUserScramCredentialsV0.api.async(connection, [], credentials);
  }
}

async function certify(): Promise<Certificates> {
  const name = (value: string): { name: string; value: string }[] => [{ name: 'commonName', value }];
  const authority = await generate(name('Authority of a test'), {
    ...EC,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ],
  });
  const ca = { key: authority.private, cert: authority.cert };
  const [broker, client] = await Promise.all([
    generate(name('broker'), {
      ...{ ...EC, ca },
      extensions: [
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
      ],
    }),
    generate(name('certified'), { ...{ ...EC, ca }, extensions: [{ name: 'extKeyUsage', clientAuth: true }] }),
  ]);
  const pair = ({ cert, private: key }: { cert: string; private: string }): KeyPair => ({ cert, key });
  return { ca: authority.cert, broker: pair(broker), client: pair(client) };
}

function properties({ ca, broker }: Certificates, users: Users): string {
  const inline = (pem: string): string => pem.trim().replace(/\r?\n/g, '\\n');
  const plain = Object.entries(users).map(([user, password]) => ` user_${user}="${password}"`);
  const modules = 'org.apache.kafka.common.security';
  return `listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LISTENER1:SASL_SSL,LISTENER2:SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.certificate.chain=${inline(broker.cert)}
ssl.keystore.key=${inline(broker.key)}
ssl.truststore.type=PEM
ssl.truststore.certificates=${inline(ca)}
listener.name.listener2.ssl.client.auth=required
listener.name.listener2.ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/
listener.name.listener1.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.listener1.connections.max.reauth.ms=${SESSION_MS}
listener.name.listener1.plain.sasl.jaas.config=${modules}.plain.PlainLoginModule required${plain.join('')};
listener.name.listener1.scram-sha-256.sasl.jaas.config=${modules}.scram.ScramLoginModule required;
listener.name.listener1.scram-sha-512.sasl.jaas.config=${modules}.scram.ScramLoginModule required;
listener.name.listener1.oauthbearer.sasl.jaas.config=${modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
`;
}
