/** Offsets as ranges, both ends inclusive, in order. */
export type OffsetRanges = [first: number, last: number][];

export function toRanges(offsets: number[]): OffsetRanges {
  const ranges: OffsetRanges = [];
  for (const one of offsets.sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && one <= last[1] + 1) last[1] = Math.max(last[1], one);
    else ranges.push([one, one]);
  }
  return ranges;
}

export function* inRanges(ranges: readonly (readonly [number, number])[]): Generator<number> {
  for (const [first, last] of ranges) for (let one = first; one <= last; one += 1) yield one;
}

/** Ranges with those joined that are at most `gap` apart: what one reading takes. */
export function joined(ranges: OffsetRanges, gap: number): OffsetRanges {
  const result: OffsetRanges = [];
  for (const [first, last] of ranges.sort(([a], [b]) => a - b)) {
    const before = result.at(-1);
    if (before !== undefined && first <= before[1] + gap) before[1] = Math.max(before[1], last);
    else result.push([first, last]);
  }
  return result;
}

/** A set of offsets that are added about in order, kept as ranges; of too many ranges the lowest are forgotten. */
export class OffsetSet {
  readonly #ranges: OffsetRanges;

  constructor(
    private readonly maxRanges: number,
    ranges: OffsetRanges = [],
  ) {
    this.#ranges = ranges.map(([first, last]) => [first, last]);
  }

  get ranges(): OffsetRanges {
    return this.#ranges.map(([first, last]) => [first, last]);
  }

  add(offset: number): void {
    const at = this.#ranges.findLastIndex(([first]) => first <= offset);
    const before = this.#ranges[at];
    const after = this.#ranges[at + 1];
    if (before !== undefined && offset <= before[1]) return;
    const joinsBefore = before?.[1] === offset - 1;
    const joinsAfter = after?.[0] === offset + 1;
    if (joinsBefore && joinsAfter) {
      before[1] = after[1];
      this.#ranges.splice(at + 1, 1);
    } else if (joinsBefore) before[1] = offset;
    else if (joinsAfter) after[0] = offset;
    else this.#ranges.splice(at + 1, 0, [offset, offset]);
    if (this.#ranges.length > this.maxRanges) this.#ranges.shift();
  }

  has(offset: number): boolean {
    const found = this.#ranges.findLast(([first]) => first <= offset);
    return found !== undefined && offset <= found[1];
  }
}
