import { Random } from '../random.js';

/** A fault's place in the plan, its kind, and a source of choices of its own. */
export interface Card<K> {
  readonly index: number;
  readonly kind: K;
  readonly random: Random;
}

/** Kinds of faults, up to a number of them: dealt from a shuffled deck, so that each comes up in every round. */
export function* deal<K>(seed: number, kinds: readonly K[], most = Infinity): Generator<Card<K>> {
  const deck = new Random(seed, 'faults');
  let left: K[] = [];
  for (let index = 0; index < most; index++) {
    if (left.length === 0) left = deck.shuffled(kinds);
    const kind = left.shift();
    if (kind === undefined) return;
    yield { index, kind, random: new Random(seed, 'fault', index) };
  }
}
