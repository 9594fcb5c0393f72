import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { EncryptingCodec } from './encrypting-codec.js';
import type { PayloadKeys } from './payload-keys.js';

/** How a worker or a client converts data under these keys. */
export function encryptingConverter(keys: PayloadKeys): DataConverter {
  return {
    payloadCodecs: [new EncryptingCodec(keys)],
    failureConverterPath: fileURLToPath(new URL('./failure-converter.js', import.meta.url)),
  };
}
