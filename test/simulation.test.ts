import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { plants } from '../simulation/plants.js';

const program = fileURLToPath(new URL('../dist/simulation/main.js', import.meta.url));
const run = promisify(execFile);

/** `SIM_SEED` runs others, `SIM_SEEDS` more of them. The same ones each time: what a change breaks is what it broke. */
const seed = process.env['SIM_SEED'] ?? '1';
const seeds = process.env['SIM_SEEDS'] ?? '2000';

/** Runs the compiled simulation, as `npm run simulate` does. */
async function simulate(...args: string[]): Promise<{ code: number; text: string }> {
  try {
    const { stdout } = await run(process.execPath, [program, ...args]);
    return { code: 0, text: stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, text: stdout + stderr };
  }
}

// It is all computing: a machine that is busy with other things takes many times as long.
describe('the protocol on a simulated network and clock', { timeout: 900_000 }, () => {
  it('keeps every invariant, whatever fails', async () => {
    console.info(`SIM_SEED=${seed}`);
    const { code, text } = await simulate('--seed', seed, '--seeds', seeds);
    expect(text).toMatch(/: 0 broken/);
    expect(code).toBe(0);
  });

  it('repeats a seed exactly', async () => {
    const [one, other] = await Promise.all([simulate('--seed', seed, '--trace'), simulate('--seed', seed, '--trace')]);
    expect(one.text.length).toBeGreaterThan(1_000);
    expect(other.text).toBe(one.text);
  });

  it('finds planted faults by their seeds', async () => {
    const missed: string[] = [];
    const waiting = plants.flatMap(({ name, found }) => (found === undefined ? [] : [{ name, found }]));
    expect(waiting.length).toBeGreaterThan(5);
    const next = async (): Promise<void> => {
      for (let plant = waiting.shift(); plant !== undefined; plant = waiting.shift()) {
        const { code, text } = await simulate(
          '--plant',
          plant.name,
          '--seed',
          String(plant.found),
          '--seeds',
          '1',
          '--processes',
          '1',
        );
        if (code !== 1 || !text.includes(`seed ${plant.found}: `)) missed.push(`${plant.name}: ${text}`);
      }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, next));
    expect(missed).toEqual([]);
  });
});
