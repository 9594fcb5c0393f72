import { once } from 'node:events';
import { pino } from 'pino';
import { buildCodecApp } from './codec/codec-app.js';
import { readCodecServerConfig } from './codec/codec-server-config.js';
import { EncryptingCodec } from './codec/encrypting-codec.js';
import { SettingsError } from './settings.js';

/** Decrypts payloads for the people who may read them, in Temporal's UI and CLI: `npm run codec-server`. */
try {
  const { keys, host, port, origins, tokens } = readCodecServerConfig(process.env);
  const logger = pino({ name: 'codec-server' });
  const app = await buildCodecApp({ codec: new EncryptingCodec(keys), origins, tokens, logger });
  await app.listen({ host, port });
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await app.close();
} catch (error) {
  process.stderr.write(`${error instanceof SettingsError ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
