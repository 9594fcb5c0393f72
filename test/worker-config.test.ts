import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readWorkerConfig, WorkerConfigError } from '../src/worker-config.js';

const needed = { KAFKA_BROKERS: '127.0.0.1:9092', OWLMQ_URL: 'http://127.0.0.1:8085', OWLMQ_API_KEY: 'key' };

function problems(environment: NodeJS.ProcessEnv): readonly string[] {
  try {
    readWorkerConfig(environment);
    return [];
  } catch (error) {
    if (error instanceof WorkerConfigError) return error.problems;
    throw error;
  }
}

describe("the worker's settings", () => {
  it('open no observation endpoint unless told to, and one with several tokens for several to come', async () => {
    expect(readWorkerConfig(needed).observations).toBeUndefined();
    const [older, newer] = ['0123456789abcdef', 'another-token+of/mine=='];
    const given = { ...needed, OBSERVATIONS_ADDRESS: '[::1]:8087', OWLMQ_BRIDGE_DIGEST_KEY: 'secret' };
    expect(readWorkerConfig({ ...given, OBSERVATIONS_TOKEN: `${older}, ${newer}` }).observations).toEqual({
      ...{ host: '::1', port: 8087, tokens: [older, newer], digestKey: 'secret' },
    });
    const folder = await mkdtemp(join(tmpdir(), 'worker-config-test-'));
    const file = join(folder, 'tokens');
    await writeFile(file, `${older}\n${newer}\n`);
    expect(readWorkerConfig({ ...given, OBSERVATIONS_TOKEN_FILE: file }).observations?.tokens).toEqual([older, newer]);
    await rm(folder, { recursive: true });
    expect(problems({ ...given, OBSERVATIONS_TOKEN_FILE: file }).join()).toContain('OBSERVATIONS_TOKEN_FILE');
  });

  it('name no task queue on which rehearsals must touch no system', () => {
    const named = problems({ ...needed, TEMPORAL_TASK_QUEUE: 'kafka-to-owlmq-rehearsal' });
    expect(named.join()).toContain('TEMPORAL_TASK_QUEUE: is a queue for rehearsals');
  });

  it('are told all at once, without a secret', () => {
    const told = problems({ OBSERVATIONS_ADDRESS: '8087', OBSERVATIONS_TOKEN: 'short,0123456789abcdef' });
    expect(told).toHaveLength(5);
    expect(told.join('\n')).toMatch(/KAFKA_BROKERS[\s\S]*OWLMQ_URL[\s\S]*OWLMQ_API_KEY[\s\S]*OBSERVATIONS_ADDRESS/);
    expect(told.join('\n')).toContain('OBSERVATIONS_TOKEN: 1 of 2 tokens');
    expect(told.join('\n')).not.toContain('short');
    for (const none of [undefined, '', ' , ']) {
      const given = { ...needed, OBSERVATIONS_ADDRESS: '127.0.0.1:8087', OBSERVATIONS_TOKEN: none };
      expect(problems(given)).toEqual([
        'OBSERVATIONS_ADDRESS is set, and no token: set OBSERVATIONS_TOKEN or OBSERVATIONS_TOKEN_FILE too',
      ]);
    }
  });
});
