import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startOwlmqLocal, type OwlmqLocal } from '../../owlmq-local/src/index.js';
import type { ContractReport } from '../src/cli/check-owlmq/report.js';
import { BrokenOwlmq } from './broken-owlmq.js';
import { runHere } from './cli-harness.js';
import { otherOwlmq } from './other-owlmq.js';
import { plantedFaults } from './owlmq-faults.js';

const KEY = 'test-key';
/** Small ones, so that trying them is quick. */
const limits = { maxBatchRecords: 200, maxBatchBytes: 64_000, maxRecordBytes: 16_000, maxLookupIds: 100 };

let folder: string;
let server: OwlmqLocal;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'check-owlmq-faults-'));
  server = await startOwlmqLocal({ data: join(folder, 'data'), apiKeys: [KEY], limits });
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

describe('check-owlmq catches a server that', () => {
  it.concurrent.each(plantedFaults.map((fault) => [fault.what, fault] as const))('%s', async (_what, fault) => {
    const state = { restarted: false };
    const own = fault.restarts === true ? await OwnServer.start(fault.what) : undefined;
    const broken = await BrokenOwlmq.to(own?.url ?? server.url, fault.make(state), async () => {
      state.restarted = true;
      return (await own?.restart()) ?? server.url;
    });
    try {
      const connection = ['--owlmq-url', broken.url, '--owlmq-api-key', KEY];
      const restart = own === undefined ? [] : ['--restart-command', broken.restartCommand];
      const only = fault.only === undefined ? [] : ['--only', fault.only];
      const args = ['check-owlmq', '--output', 'json', '--lease', '400', ...connection, ...restart, ...only];
      const { code, out, err } = await runHere(args);
      expect(out, err).not.toBe('');
      const { checks } = JSON.parse(out) as ContractReport;
      const found = checks.filter(({ result }) => result === 'broken');
      expect(found.map(({ name, seen }) => `${name}: ${seen}`)).toEqual(
        fault.broken.map((name) => expect.stringMatching(new RegExp(`^${name}: .`, 's')) as string),
      );
      expect(code).toBe(3);
    } finally {
      await broken.close();
      await own?.stop();
    }
  });
});

it('check-owlmq finds nothing at a server that keeps the contract in another way', async () => {
  const other = await BrokenOwlmq.to(server.url, otherOwlmq());
  onTestFinished(() => other.close());
  const connection = ['--owlmq-url', other.url, '--owlmq-api-key', KEY];
  const { code, out } = await runHere(['check-owlmq', '--output', 'json', '--lease', '400', ...connection]);
  const { checks, kept } = JSON.parse(out) as ContractReport;
  expect(checks.filter(({ result }) => result === 'broken')).toEqual([]);
  expect(kept).toBeGreaterThan(checks.length - 10);
  expect(code).toBe(0);
});

/** A server of its own for a fault that needs a restart. */
class OwnServer {
  static async start(name: string): Promise<OwnServer> {
    const data = join(folder, name.replaceAll(' ', '-'));
    return new OwnServer(data, await startOwlmqLocal({ data, apiKeys: [KEY], limits }));
  }

  private constructor(
    private readonly data: string,
    private server: OwlmqLocal,
  ) {}

  get url(): string {
    return this.server.url;
  }

  async restart(): Promise<string> {
    await this.server.close();
    this.server = await startOwlmqLocal({ data: this.data, apiKeys: [KEY], limits });
    return this.server.url;
  }

  async stop(): Promise<void> {
    await this.server.close();
  }
}
