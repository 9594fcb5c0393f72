type Range = readonly [number, number];

/** How fast a run goes: each range is ms, from which the seed chooses. */
export interface Pace {
  /** How long publishers trust a routing state. */
  leaseMs: number;
  /** Between the begins of two faults. */
  gapMs: Range;
  /** How long a fault lasts that can last. */
  faultMs: Range;
  /** How much later than its sender's lease a held-back write arrives. */
  lateMs: number;
  /** How long a process stays dead. */
  deadMs: Range;
  /** How long each step of the ratio lasts. */
  rampMs: Range;
  /** How long OwlMQ stays primary before the way back. */
  warmMs: Range;
  /** Bound on a cutover or rollback between its fence and its switch; past it, it is cancelled. */
  windowMs: number;
}

/** For `npm test`: every kind of fault once in about half a minute. */
export const briefPace: Pace = {
  leaseMs: 2_000,
  gapMs: [200, 600],
  faultMs: [800, 2_000],
  lateMs: 2_500,
  deadMs: [200, 600],
  rampMs: [600, 1_200],
  warmMs: [2_500, 4_000],
  windowMs: 15_000,
};

/** For runs of minutes and hours: faults outlast the bounds of publishers now and then. */
export const longPace: Pace = {
  leaseMs: 3_000,
  gapMs: [500, 5_000],
  faultMs: [1_000, 9_000],
  lateMs: 4_000,
  deadMs: [200, 3_000],
  rampMs: [1_500, 6_000],
  warmMs: [8_000, 25_000],
  windowMs: 30_000,
};
