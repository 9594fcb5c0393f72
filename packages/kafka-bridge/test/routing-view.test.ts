import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RoutingLostError } from '../src/routing/routing-errors.js';
import { DEFAULT_LEASE_MS, type RoutingState } from '../src/routing/routing-state.js';
import { RoutingView, type DeliveredReport } from '../src/routing/routing-view.js';
import { ALWAYS_REPORTED, routingState } from './publisher-fixture.js';

const seed = Number(process.env['FC_SEED'] ?? Date.now() % 2 ** 31);
const MIGRATION = 'm';
const EPOCHS = Array.from({ length: 10 }, (_, epoch) => epoch);

const record = (state: RoutingState, offset = 0) => ({
  key: Buffer.from(state.migration),
  value: Buffer.from(JSON.stringify(state)),
  offset,
});
const stateOf = (epoch: number, change: Partial<RoutingState> = {}) =>
  routingState({ migration: MIGRATION, epoch, leaseMs: 1_000, ...change });

/** What happens to the routing topic, or to a member that follows it. */
const event = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      // Not only rising: writers race, and lost ones come late.
      epoch: fc.integer({ min: 1, max: 9 }),
      ratio: fc.constantFrom(0, 0.5, 1),
      leaseMs: fc.constantFrom(500, 1_000, 3_000),
      other: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom({ type: 'rewrite' as const }, { type: 'garbage' as const }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom({ type: 'compact' as const }, { type: 'remake' as const }, { type: 'rewind' as const }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('fetch' as const),
      sentFor: fc.nat({ max: 400 }),
      answeredFor: fc.oneof(fc.nat({ max: 400 }), fc.nat({ max: 5_000 })),
      most: fc.oneof(fc.constant(99), fc.integer({ min: 0, max: 3 })),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('report' as const),
      acknowledgedFor: fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 2_000 })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.nat({ max: 3_000 }) }) },
);

describe('what a member takes for true of its routing', () => {
  it('rises in epochs and holds for a lease only, whatever comes when, twice, cut short, or from a topic made anew', () => {
    console.info(`FC_SEED=${seed}`);
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40, size: 'max' }), (events) => {
        const view = new RoutingView(MIGRATION);
        let now = 0;
        /** Reports that Kafka has, with the lease that each states. */
        const reports: DeliveredReport[] = [];
        /** Since when this member has not counted as silent; a proof from before is none. */
        let presentSince = Infinity;
        let log: { offset: number; state: RoutingState | undefined }[] = [];
        let end = 0;
        let position = 0;
        let fromBegin = true;
        /** Of each epoch that was obeyed: when a fetch was last sent that proved it the newest, and its lease. */
        const proven = new Map<number, { at: number; leaseMs: number }>();
        let obeyed = 0;
        /** Of the log since it was begun: by the definition, the first of the highest epoch. */
        let newest: RoutingState | undefined;
        for (const happening of events) {
          switch (happening.type) {
            case 'write': {
              const { epoch, ratio, leaseMs, other } = happening;
              const migration = other ? 'other' : MIGRATION;
              log.push({ offset: end++, state: stateOf(epoch, { ratio, leaseMs, migration }) });
              break;
            }
            case 'rewrite':
              log.push({ offset: end++, state: log.at(-1)?.state });
              break;
            case 'garbage':
              log.push({ offset: end++, state: undefined });
              break;
            case 'compact':
              log = log.filter(
                ({ state }, n) => !log.slice(n + 1).some((later) => later.state?.migration === state?.migration),
              );
              break;
            case 'remake':
              [log, end, position, fromBegin] = [[], 0, 0, true];
              break;
            case 'rewind':
              [position, fromBegin] = [0, true];
              break;
            case 'wait':
              now += happening.ms;
              break;
            case 'report': {
              const sentAt = now;
              now += happening.acknowledgedFor;
              const leaseMs = view.leaseMs;
              const last = reports.at(-1);
              if (last === undefined || now >= last.sentAt + Math.min(last.leaseMs, leaseMs)) presentSince = now;
              reports.push({ sentAt, acknowledgedAt: now, leaseMs });
              view.reported({ sentAt, acknowledgedAt: now, leaseMs });
              break;
            }
            case 'fetch': {
              const fetchStartedAt = now;
              now += happening.sentFor;
              const rest = log.filter(({ offset }) => offset >= position);
              const given = rest.slice(0, happening.most);
              const atEnd = given.length === rest.length;
              position = atEnd ? end : (given.at(-1)?.offset ?? position - 1) + 1;
              now += happening.answeredFor;
              if (fromBegin) newest = undefined;
              for (const { state } of given) {
                if (state?.migration === MIGRATION && state.epoch > (newest?.epoch ?? 0)) newest = state;
              }
              const news = view.take({
                records: given.map(({ state, offset }) =>
                  state === undefined
                    ? { key: Buffer.from(MIGRATION), value: Buffer.from('{'), offset }
                    : record(state, offset),
                ),
                ...{ atEnd, fetchStartedAt, fromBegin },
              });
              fromBegin = false;
              if (view.seemsUnbegun) view.membersReported(0);
              if (news.state !== undefined) {
                expect(atEnd).toBe(true);
                expect(news.state).toEqual(newest);
                expect(news.state.epoch).toBeGreaterThan(obeyed);
                obeyed = news.state.epoch;
              }
              const found = newest?.epoch ?? 0;
              const same = found === obeyed && (newest === undefined || newest.ratio === view.state?.ratio);
              if (atEnd && same && newest?.leaseMs === view.state?.leaseMs) {
                proven.set(found, { at: fetchStartedAt, leaseMs: newest?.leaseMs ?? DEFAULT_LEASE_MS });
              }
              break;
            }
          }
          if ((view.state?.epoch ?? 0) !== obeyed) expect(view.state?.epoch).toBe(obeyed);
          const wrong = EPOCHS.filter((epoch) => {
            const proof = proven.get(epoch);
            const last = reports.at(-1);
            const reportEnd = last === undefined ? -Infinity : last.sentAt + Math.min(last.leaseMs, view.leaseMs);
            const counts = proof !== undefined && proof.at >= presentSince;
            const until = counts ? Math.min(proof.at + proof.leaseMs, reportEnd) : -Infinity;
            // Never longer than was proven; and for as long, while it is obeyed.
            const leaseEnd = view.leaseEndOf(epoch);
            if (epoch === obeyed) return leaseEnd !== until;
            // An earlier one keeps the end that it had, and has no longer one than its last proof gave.
            return leaseEnd > (proof === undefined ? -Infinity : proof.at + proof.leaseMs);
          });
          if (wrong.length > 0) expect(wrong.map((epoch) => [epoch, view.leaseEndOf(epoch)])).toEqual([]);
          if (view.leaseValid(now) !== now < view.leaseEndOf(obeyed)) expect(view.leaseValid(now)).toBe(false);
        }
      }),
      { seed, numRuns: 2_000 },
    );
  });

  const alwaysReported = (): RoutingView => {
    const view = new RoutingView(MIGRATION);
    view.reported(ALWAYS_REPORTED);
    return view;
  };
  const slice = (states: readonly RoutingState[], fetchStartedAt: number, fromBegin = false) => ({
    records: states.map((state) => record(state)),
    ...{ atEnd: true, fetchStartedAt, fromBegin },
  });

  it.each([
    ['is empty', []],
    ['holds a lower epoch', [stateOf(4)]],
    ['holds another state of this epoch', [stateOf(5, { ratio: 1 })]],
  ])('is not renewed from a topic made anew that %s; it says so once, and goes on with a higher epoch', (_, states) => {
    const view = alwaysReported();
    view.take(slice([stateOf(5)], 0, true));
    expect(view.leaseEnd).toBe(1_000);
    const lost = view.take(slice(states, 500, true));
    expect(lost).toMatchObject({ state: undefined, errors: [{ name: 'RoutingLostError' }] });
    expect(lost.errors[0]).toBeInstanceOf(RoutingLostError);
    expect(lost.errors[0]?.message).toMatch(/obeys epoch 5.*kafka-bridge routing set/);
    expect(view.take(slice([], 600))).toEqual({ state: undefined, errors: [] });
    expect(view.leaseValid(999)).toBe(true);
    expect(view.leaseValid(1_000)).toBe(false);
    expect(view.state?.epoch).toBe(5);
    expect(view.take(slice([stateOf(6)], 2_000))).toMatchObject({ state: { epoch: 6 }, errors: [] });
    expect(view.leaseValid(2_999)).toBe(true);
  });

  it('is renewed from a topic made anew that holds the same state', () => {
    const view = alwaysReported();
    view.take(slice([stateOf(5)], 0, true));
    const again = view.take(slice([stateOf(5, { writtenAt: '2027-01-01T00:00:00.000Z' })], 500, true));
    expect(again).toEqual({ state: undefined, errors: [] });
    expect(view.leaseEnd).toBe(1_500);
  });

  it('leaves an earlier epoch its lease, which nothing renews', () => {
    const view = alwaysReported();
    view.take(slice([stateOf(1)], 0, true));
    view.take(slice([], 700));
    view.take(slice([stateOf(2)], 900));
    view.take(slice([], 1_500));
    expect([view.leaseEndOf(1), view.leaseEndOf(2), view.leaseEndOf(3)]).toEqual([1_700, 2_500, -Infinity]);
  });

  it('has no end once Kafka is not written any more', () => {
    const view = alwaysReported();
    view.take(slice([stateOf(1, { primary: 'owlmq', live: 'owlmq', mirror: false })], 0, true));
    expect(view.leaseValid(1e12)).toBe(true);
  });

  it('holds for no longer than the lease after a report that Kafka took', () => {
    const view = new RoutingView(MIGRATION);
    view.take(slice([stateOf(1)], 0, true));
    expect(view.leaseEnd).toBeUndefined();
    view.reported({ sentAt: 100, acknowledgedAt: 120, leaseMs: 1_000 });
    expect(view.leaseEnd).toBeUndefined();
    view.take(slice([], 150));
    expect(view.leaseEnd).toBe(1_100);
    view.take(slice([], 900));
    expect(view.leaseEnd).toBe(1_100);
    view.reported({ sentAt: 800, acknowledgedAt: 1_099, leaseMs: 1_000 });
    expect(view.leaseEnd).toBe(1_800);
    // A report on a shorter lease may have arrived unacknowledged.
    view.take(slice([stateOf(2, { leaseMs: 400 })], 1_100));
    expect(view.leaseEnd).toBe(1_200);
  });

  it('holds again after a silence by what is read after the report that ended it', () => {
    const view = new RoutingView(MIGRATION);
    view.reported({ sentAt: 0, acknowledgedAt: 0, leaseMs: 1_000 });
    view.take(slice([stateOf(1)], 10, true));
    view.take(slice([], 990));
    view.reported({ sentAt: 500, acknowledgedAt: 1_000, leaseMs: 1_000 });
    expect(view.leaseEnd).toBeUndefined();
    // Sent before, answered after.
    view.take(slice([], 999));
    expect(view.leaseEnd).toBeUndefined();
    view.take(slice([], 1_000));
    expect(view.leaseEnd).toBe(1_500);
  });

  it('has no lease on a log without a state before somebody has looked at what members report', () => {
    const view = alwaysReported();
    view.take(slice([], 0, true));
    expect([view.seemsUnbegun, view.leaseEnd]).toEqual([true, undefined]);
    view.membersReported(0);
    expect([view.seemsUnbegun, view.leaseEnd]).toEqual([false, DEFAULT_LEASE_MS]);

    const late = alwaysReported();
    late.take(slice([], 0, true));
    const { errors } = late.membersReported(5);
    expect(errors[0]?.message).toMatch(/holds no state, and members have reported epoch 5/);
    expect(late.take(slice([stateOf(4)], 100)).errors[0]?.message).toMatch(/another state of epoch 4/);
    expect(late.leaseEnd).toBeUndefined();
    expect(late.take(slice([stateOf(5)], 200))).toMatchObject({ state: { epoch: 5 }, errors: [] });
    expect(late.leaseEnd).toBe(1_200);
  });

  it('knows how far a rollback made Kafka complete, also of states that one fetch brought together', () => {
    const onOwlmq = { primary: 'owlmq', live: 'owlmq' } as const;
    const fenced = { ...onOwlmq, fence: { reason: 'rollback' } };
    const drained = { ...fenced, drain: { orders: [3, 5] } };
    const after = (...changes: Partial<RoutingState>[]) => {
      const view = alwaysReported();
      view.take(
        slice(
          changes.map((change, index) => stateOf(index + 1, change)),
          0,
          true,
        ),
      );
      return view.inKafkaBefore;
    };
    expect(after(onOwlmq, fenced, drained, {})).toEqual({ orders: [3, 5] });
    expect(after(onOwlmq, fenced, { ...fenced, drain: 'stop' }, {})).toBeUndefined();
    // By the last positions, without an audit.
    expect(after(onOwlmq, fenced, drained, { ...fenced, drain: 'stop' }, {})).toBeUndefined();
    // A later cutover.
    expect(after(onOwlmq, fenced, drained, {}, onOwlmq, fenced, {})).toBeUndefined();
    // The drain of a cutover is of Kafka.
    expect(after({ fence: { reason: 'cutover' }, drain: { orders: [1, 1] } }, {})).toBeUndefined();
  });
});
