/** Repeatable random numbers; the seed is printed, and SEED in the environment sets it. */
export function seededRandom(test: string): () => number {
  let state = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
  process.stdout.write(`${test}: SEED=${state}\n`);
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
