import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** Name of the hook in the inputs of migrations. */
export const HOOK = 'order-gate';
const SECRET = 'BOUNDARIES_HOOK_SECRET';

/** What workers need to call the receiver, and the end of it. */
export interface HookReceiver {
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Receives hooks, and says yes to each: of those that come again as well. */
export async function startHookReceiver(folder: string): Promise<HookReceiver> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const file = join(folder, 'hooks.json');
  const hooks = { [HOOK]: { url: `http://127.0.0.1:${port}/hook`, secretVariable: SECRET } };
  await writeFile(file, JSON.stringify(hooks));
  return {
    env: { HOOKS_FILE: file, [SECRET]: `whsec_${randomBytes(32).toString('base64')}` },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
