const figure = new Intl.NumberFormat('en');

/** A whole number with separators. */
export function count(value: number): string {
  return figure.format(Math.round(value));
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1_000 && unit < units.length - 1) {
    scaled /= 1_000;
    unit++;
  }
  return `${unit === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${units[unit] ?? ''}`;
}

/** A duration as a person says it. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** How long ago an ISO time of another clock is, as far as the clocks agree. */
export function ago(at: string): string {
  const time = Date.parse(at);
  return Number.isNaN(time) ? 'at an unknown time' : `${duration(Date.now() - time)} ago`;
}

export function share(ratio: number): string {
  return `${Number((ratio * 100).toFixed(2))}%`;
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** The name that people read. */
export function legName(leg: 'kafka' | 'owlmq'): string {
  return leg === 'kafka' ? 'Kafka' : 'OwlMQ';
}

/** Text of others, which may hold what a terminal would obey, or show in another order. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (found) => `\\u${(found.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}
