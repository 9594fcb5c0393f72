const figure = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** A figure with separators; a dash where there is none. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : figure.format(value);
}

export function percent(ratio: number): string {
  return `${figure.format(ratio * 100)}%`;
}

/** A duration as a person says it. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${figure.format(hours / 24)} days`;
}

/** A time of today by its clock, another one with its date; and how long ago it was, or how long it is until then. */
export function moment(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  const today = time.toDateString() === new Date().toDateString();
  const date = today ? '' : `${time.toLocaleDateString('en-CA')} `;
  const away = time.getTime() - Date.now();
  const far = away > 0 ? `in ${duration(away)}` : `${duration(-away)} ago`;
  return `${date}${clock(time.getTime())} (${far})`;
}

/** `02:04:11`, by the clock of whoever looks. */
export function clock(atMs: number): string {
  return new Date(atMs).toLocaleTimeString('en-GB');
}

export function legName(leg: 'kafka' | 'owlmq'): string {
  return leg === 'kafka' ? 'Kafka' : 'OwlMQ';
}
