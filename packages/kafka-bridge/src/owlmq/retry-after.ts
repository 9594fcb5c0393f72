/** How long a `Retry-After` asks to wait, ms: seconds, or until a date. Undefined without one, or where it is neither. */
export function parseRetryAfter(header: string | string[] | null | undefined): number | undefined {
  if (typeof header !== 'string') return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
