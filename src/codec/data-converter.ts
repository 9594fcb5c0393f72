import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { EncryptingCodec } from './encrypting-codec.js';
import { givenSettings, SettingsError } from '../settings.js';
import { readPayloadKeys, type PayloadKeys } from './payload-keys.js';

/** What a program needs for payloads that are encrypted. */
export interface Encryption {
  codec: EncryptingCodec;
  dataConverter: DataConverter;
}

/**
 * As the environment says it, see `readPayloadKeys`.
 *
 * @param program as people call it, for what is told of wrong keys.
 * @returns undefined without keys.
 * @throws {SettingsError}
 */
export function encryptionFromEnvironment(environment: NodeJS.ProcessEnv, program: string): Encryption | undefined {
  const given = givenSettings(environment);
  const problems: string[] = [];
  const keys = readPayloadKeys(given, (problem) => problems.push(problem));
  if (problems.length > 0) throw new SettingsError(problems, program);
  return keys === undefined
    ? undefined
    : { codec: new EncryptingCodec(keys), dataConverter: encryptingConverter(keys) };
}

/** How a worker or a client converts data under these keys. */
export function encryptingConverter(keys: PayloadKeys): DataConverter {
  return {
    payloadCodecs: [new EncryptingCodec(keys)],
    failureConverterPath: fileURLToPath(new URL('./failure-converter.js', import.meta.url)),
  };
}
