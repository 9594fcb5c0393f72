import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHere, type CliOutcome } from './cli-harness.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-plan-'));
});

afterAll(() => rm(folder, { recursive: true }));

const monday = '2026-11-30T12:00:00Z';

async function plan(input: string, ...args: string[]): Promise<CliOutcome> {
  const file = join(folder, 'migration.json');
  await writeFile(file, input);
  return await runHere(['plan', '--input', file, ...args]);
}

interface Planned {
  version: number;
  atLeastMs: number;
  steps: { phase: string; step: string; earliest: string }[];
}

async function planned(input: object): Promise<Planned> {
  const { code, out, err } = await plan(JSON.stringify(input), '--from', monday, '--output', 'json');
  expect(err).toBe('');
  expect(code).toBe(0);
  return JSON.parse(out) as Planned;
}

const two = { topics: ['orders'], groups: ['payments'] };

describe('a plan', () => {
  it('has the steps in their order, each at its earliest time', async () => {
    const { version, atLeastMs, steps } = await planned({ ...two, ramp: { step: 0.5 } });
    expect(version).toBe(1);
    expect(steps.map(({ phase, earliest }) => `${earliest.slice(0, 13)} ${phase}`)).toEqual([
      '2026-11-30T12 preflight',
      '2026-11-30T12 dual-write',
      '2026-11-30T13 dual-write',
      '2026-11-30T14 shadow-soak',
      '2026-12-02T14 ready',
      '2026-12-02T14 cutover',
      '2026-12-02T14 warm',
      '2026-12-16T14 decommission',
      '2026-12-16T14 decommission',
    ]);
    expect(atLeastMs).toBe((2 + 48 + 14 * 24) * 3_600_000);
  });

  it('waits for the hours in which a cutover may begin', async () => {
    const hours = { from: '02:00', to: '04:00', timeZone: 'Europe/Berlin', days: ['fri'] };
    const { steps } = await planned({ ...two, cutover: { hours } });
    const at = (phase: string) => steps.find((step) => step.phase === phase)?.earliest;
    expect(at('ready')).toBe('2026-12-02T22:00:00.000Z');
    expect(at('cutover')).toBe('2026-12-04T01:00:00.000Z');
    expect(at('warm')).toBe('2026-12-04T01:00:00.000Z');
  });

  it('is a table for people, of the example too', async () => {
    const example = await readFile(join(import.meta.dirname, '../../../examples/migration.json'), 'utf8');
    const { code, out } = await plan(example, '--from', monday);
    expect(code).toBe(0);
    expect(out).toMatch(/^ {5}AT THE EARLIEST/);
    expect(out).toContain('wait for the approve signal');
    expect(out).toContain('A rollback is possible at any time');
  });

  it('is refused with everything that is wrong', async () => {
    const wrong = { topics: [], groups: ['a', 'a'], ramp: { step: 0 }, cutover: { window: 'soon' }, soack: {} };
    const { code, out, err } = await plan(JSON.stringify(wrong), '--from', 'tomorrow', '--output', 'yaml');
    expect(code).toBe(2);
    expect(out).toBe('');
    for (const part of ['--from', '--output', 'topics', 'names a group twice', 'ramp.step', '"soon"', '"soack"']) {
      expect(err).toContain(part);
    }
    expect((await plan('{')).err).toContain('is no JSON');
    const missing = await runHere(['plan', '--input', join(folder, 'none.json')]);
    expect(missing).toMatchObject({ code: 2 });
    expect(missing.err).toContain('cannot be read');
    expect((await runHere(['plan'])).err).toContain('--input must name the file');
  });
});
