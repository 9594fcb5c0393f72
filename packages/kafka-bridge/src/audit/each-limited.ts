/**
 * Runs work on every item, at most `limit` at a time, each to its end even when another fails. Behind an error that
 * `isLast` says yes to, no further work is begun.
 *
 * @returns the errors, in no particular order.
 */
export async function eachLimited<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
  isLast: (error: unknown) => boolean = () => false,
): Promise<unknown[]> {
  const errors: unknown[] = [];
  const queue = items.values();
  const lane = async (): Promise<void> => {
    for (const item of queue) {
      if (errors.some(isLast)) return;
      try {
        await work(item);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  return errors;
}
