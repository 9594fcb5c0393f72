import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The command of the migration playbook, to the letter. Its groups have names that others may use: give it a broker of its own. */
const PLAYBOOK_COMMAND = `npx @owlmq/kafka-bridge migrate-offsets \\
--kafka-brokers kafka:9092 \\
--groups payment-service,notification-service \\
--owlmq-api-key $OWLMQ_API_KEY`;

/**
 * Runs it in a folder by a shell. The host `kafka` is the first of the brokers, and a registry is there that has nothing.
 *
 * @returns what it printed, and what npx asked of the registry.
 */
export async function runPlaybookCommand(
  folder: string,
  { brokers, owlmqUrl, apiKey }: { brokers: string[]; owlmqUrl: string; apiKey: string },
): Promise<{ out: string; err: string; asked: string[] }> {
  const asked: string[] = [];
  const registry = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(404).end('{}');
  });
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  try {
    const { stdout, stderr } = await run('sh', ['-c', PLAYBOOK_COMMAND], {
      cwd: folder,
      env: {
        ...{ PATH: process.env['PATH'], HOME: process.env['HOME'], OWLMQ_URL: owlmqUrl, OWLMQ_API_KEY: apiKey },
        npm_config_registry: `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`,
        NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'host-kafka.mjs')).href}`,
        HOST_KAFKA: brokers[0],
      },
    });
    return { out: stdout, err: stderr, asked };
  } finally {
    await new Promise((resolve) => registry.close(resolve));
  }
}
