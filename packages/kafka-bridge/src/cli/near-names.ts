/** Most names that are told, and most letters that may differ. */
const MOST_NAMES = 3;
const MOST_EDITS = 3;

/** Names that somebody who wrote another one may have meant: few letters off, or with it inside; nearest first. */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const limit = Math.min(MOST_EDITS, Math.max(1, Math.floor(wanted.length / 3)));
  return names
    .map((name) => ({ name, far: distance(wanted.toLowerCase(), name.toLowerCase(), limit) }))
    .filter(({ far }) => far <= limit)
    .sort((a, b) => a.far - b.far || (a.name < b.name ? -1 : 1))
    .slice(0, MOST_NAMES)
    .map(({ name }) => name);
}

/** How "did you mean" is said; nothing where no name is near. */
export function didYouMean(wanted: string, names: readonly string[]): string {
  const near = nearNames(wanted, names);
  return near.length === 0 ? '' : ` Did you mean ${near.join(', ')}?`;
}

/** Letters to change, or the limit where one holds the other in full; beyond the limit it is not exact. */
function distance(a: string, b: string, limit: number): number {
  if (a.length > 3 && b.length > 3 && (a.includes(b) || b.includes(a))) return limit;
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change));
    }
    row = next;
  }
  return row[b.length] ?? limit + 1;
}
