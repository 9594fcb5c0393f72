import { minuteOfDay, MINUTES_A_DAY, type CutoverHours } from './migration-input.js';

const MINUTE = 60_000;
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
type Day = (typeof DAYS)[number];

/**
 * When a window of some length may begin next.
 *
 * Asked for minute by minute in the time zone itself, so that days of 23 and 25 hours need no rule of their own. It is
 * for activities, not for workflow code: another version of Node may know other rules for a time zone.
 *
 * @param windowMs the window has to be over by `to`.
 * @param now Unix ms.
 * @returns Unix ms: `now` when it may begin now; undefined when it may not within eight days.
 */
export function nextOpening(hours: CutoverHours, windowMs: number, now: number): number | undefined {
  const allowed = allowedMinutes(hours);
  const minuteOf = (time: number): number => Math.floor(time / MINUTE) * MINUTE;
  const last = now + 8 * MINUTES_A_DAY * MINUTE;
  for (let minute = minuteOf(now); minute <= last; minute += MINUTE) {
    const begin = Math.max(now, minute);
    if (allowed(minute) && allowed(minuteOf(begin + windowMs - 1))) return begin;
  }
  return undefined;
}

/** Whether a minute, given by the Unix ms at which it begins, lies in the hours. */
function allowedMinutes({ from, to, timeZone, days }: CutoverHours): (minute: number) => boolean {
  const format = new Intl.DateTimeFormat('en-GB', {
    ...{ timeZone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  });
  const [begin, end] = [minuteOfDay(from), minuteOfDay(to)];
  const isDay = (day: Day): boolean => days === undefined || days.includes(day);
  return (minute) => {
    const parts = Object.fromEntries(format.formatToParts(minute).map(({ type, value }) => [type, value]));
    const day = (parts.weekday ?? '').toLowerCase() as Day;
    const at = Number(parts.hour) * 60 + Number(parts.minute);
    if (begin < end) return at >= begin && at < end && isDay(day);
    // Past midnight the hours are those that began the day before.
    if (at >= begin) return isDay(day);
    return at < end && isDay(DAYS[(DAYS.indexOf(day) + 6) % 7] ?? day);
  };
}
