import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { LINK_FAULTS, SimFleet } from './simulation/fleet.js';
import { World } from './simulation/world.js';

vi.mock('../src/kafka/replaceable-producer.js', async () => {
  const { KafkaConnectError, ReplaceableProducer } = await import('./simulation/kafka.js');
  return { KafkaConnectError, ReplaceableProducer };
});
vi.mock('../src/kafka/partition-follower.js', async () => {
  const { PartitionFollower } = await import('./simulation/kafka.js');
  return { PartitionFollower };
});
vi.mock('../src/kafka/log-reader.js', async (original) => {
  const { LogReader } = await import('./simulation/kafka.js');
  return { ...(await original<object>()), LogReader };
});

/** `FC_SEED` repeats a run, `FC_RUNS` changes how many cases it has. */
const seed = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const runs = (usual: number): number => Number(process.env['FC_RUNS'] ?? usual);

type Step = (fleet: SimFleet) => void | Promise<void>;

/** A step that reads as what it does in a counterexample. */
function step(text: string, run: Step): Step & { toString(): string } {
  return Object.assign(run, { toString: () => text, [fc.toStringMethod]: () => text });
}

type OfSlot = 'crash' | 'freeze' | 'thaw' | 'start';

/** The same of one member. */
function stepOn(name: OfSlot, n: number): Step {
  return step(`${name}(${n})`, (fleet) => {
    fleet[name](n);
  });
}

function linkOf(n: number, fault: (typeof LINK_FAULTS)[number], broken: boolean): Step {
  return step(`link(${n}, ${fault}, ${broken})`, (fleet) => {
    fleet.link(n, fault, broken);
  });
}

const slot = fc.nat({ max: 2 });
const link = (...faults: (typeof LINK_FAULTS)[number][]) =>
  fc.tuple(slot, fc.constantFrom(...faults), fc.boolean()).map(([n, fault, broken]) => linkOf(n, fault, broken));
const onSlot = (name: OfSlot) => slot.map((n) => stepOn(name, n));

const wait = fc.integer({ min: 1, max: 3_500 }).map((ms) => step(`advance(${ms})`, (fleet) => fleet.advance(ms)));
const blink = fc.integer({ min: 0, max: 40 }).map((ms) => step(`advance(${ms})`, (fleet) => fleet.advance(ms)));
const publishOn = (n: number, count: number): Step =>
  step(`publish(${n}, ${count})`, (fleet) => {
    fleet.publish(n, count);
  });
const publish = fc.tuple(slot, fc.integer({ min: 1, max: 9 })).map(([n, count]) => publishOn(n, count));
const ratio = fc.constantFrom(0, 0.5, 1).map((share) =>
  step(`route({ ratio: ${share} })`, (fleet) => {
    fleet.route({ ratio: share });
  }),
);
const fence = fc.constant(
  step('route({ fence: true })', (fleet) => {
    fleet.route({ fence: true });
  }),
);
const open = fc.boolean().map((flip) =>
  step(`route({ flip: ${flip} })`, (fleet) => {
    fleet.route({ flip });
  }),
);
const owlmq = fc.tuple(fc.boolean(), fc.constantFrom(0, 0.1)).map(([down, refusals]) =>
  step(`owlmq(${down ? 'down' : `refuses ${refusals}`})`, (fleet) => {
    fleet.owlmq.down = down;
    fleet.owlmq.refusals = refusals;
  }),
);
const topic = fc.constantFrom(
  step('stray()', (fleet) => {
    fleet.stray();
  }),
  step('compact()', (fleet) => {
    fleet.kafka.compactRouting();
  }),
  step('remake(empty)', (fleet) => {
    fleet.remake(true);
  }),
  step('remake(standing)', (fleet) => {
    fleet.remake(false);
  }),
);

function steps(...weighted: [number, fc.Arbitrary<Step>][]): fc.Arbitrary<Step[]> {
  return fc.array(fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary }))), {
    minLength: 5,
    maxLength: 40,
    size: 'max',
  });
}

/** Steps in this order, with a few others between them. */
function script(others: fc.Arbitrary<Step>, ...order: (Step | fc.Arbitrary<Step>)[]): fc.Arbitrary<Step[]> {
  const few = fc.array(others, { maxLength: 2 });
  const parts = order.map((next) => fc.tuple(few, next instanceof fc.Arbitrary ? next : fc.constant(next)));
  return fc.tuple(...parts).map((drawn) => drawn.flatMap(([before, next]) => [...before, next]));
}

async function play(chance: number, taken: readonly Step[], members: number): Promise<string[]> {
  let violations: string[] = [];
  await World.run(chance, async (world) => {
    const fleet = new SimFleet(world);
    for (let n = 0; n < members; n++) fleet.start(n);
    await fleet.advance(50);
    for (const take of taken) await take(fleet);
    await fleet.heal();
    await fleet.close();
    violations = fleet.judge();
  });
  return violations;
}

describe('publishers that are slow, frozen, cut off, killed and started, under a routing topic that is stale, reordered and made anew', () => {
  it('obey rising epochs only, write nothing past a lease or under a fence that all obey, and all go on in the end', async () => {
    console.info(`FC_SEED=${seed}`);
    const drawn = steps(
      ...([
        [6, publish],
        [5, wait],
        [4, blink],
        [2, fence],
        [3, open],
        [1, ratio],
        [1, owlmq],
        [1, topic],
        [2, onSlot('freeze')],
        [2, onSlot('thaw')],
        [5, link(...LINK_FAULTS)],
        [1, onSlot('crash')],
        [1, onSlot('start')],
      ] satisfies [number, fc.Arbitrary<Step>][]),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 }), drawn, async (chance, taken) => {
        expect(await play(chance, taken, 3)).toEqual([]);
      }),
      { seed, numRuns: runs(250), endOnFailure: false },
    );
  });
});

describe('a publisher that counted as silent when a fence was obeyed', () => {
  it('writes nothing under it when its reports arrive again before it hears of the fence', async () => {
    console.info(`FC_SEED=${seed}`);
    const between = fc.oneof(blink, publish, ratio);
    const silence = fc.integer({ min: 3_000, max: 3_600 }).map((ms) => step(`advance(${ms})`, (f) => f.advance(ms)));
    const drawn = script(
      between,
      ...[
        ratio,
        wait,
        linkOf(0, 'muted', true),
        silence,
        linkOf(0, 'deaf', true),
        fence,
        blink,
        linkOf(0, 'muted', false),
      ],
      ...[fc.integer({ min: 1, max: 9 }).map((count) => publishOn(0, count)), wait, publish, linkOf(0, 'deaf', false)],
    );
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 }), drawn, async (chance, taken) => {
        expect(await play(chance, taken, 2)).toEqual([]);
      }),
      { seed, numRuns: runs(100), endOnFailure: false },
    );
  });
});

describe('a publisher that starts when the routing topic was made anew and is empty', () => {
  it('holds until the state is there again, as others have reported it', async () => {
    console.info(`FC_SEED=${seed}`);
    const remake = step('remake(empty)', (fleet) => {
      fleet.remake(true);
    });
    const between = fc.oneof(blink, publish);
    const drawn = script(
      between,
      ...[ratio, wait, fence, wait, remake, fc.constantFrom(stepOn('crash', 0), stepOn('freeze', 0)), blink],
      ...[stepOn('start', 0), stepOn('start', 1), wait, publishOn(0, 3), publishOn(1, 3), wait, open, wait],
    );
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 }), drawn, async (chance, taken) => {
        expect(await play(chance, taken, 1)).toEqual([]);
      }),
      { seed, numRuns: runs(100), endOnFailure: false },
    );
  });
});

describe('a publisher under load, with legs that are slow, refuse, lose requests and answers, and change places', () => {
  it('keeps the order of each key on each leg, acknowledges what a leg has, settles every call once, in bounds', async () => {
    console.info(`FC_SEED=${seed}`);
    const busy = fc.integer({ min: 1, max: 20 }).map((count) => publishOn(0, count));
    const drawn = steps(
      ...([
        [12, busy],
        [10, blink],
        [3, wait],
        [2, fence],
        [3, open],
        [2, ratio],
        [2, owlmq],
        [3, link('cut')],
      ] satisfies [number, fc.Arbitrary<Step>][]),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 }), drawn, async (chance, taken) => {
        expect(await play(chance, taken, 1)).toEqual([]);
      }),
      { seed, numRuns: runs(400), endOnFailure: false },
    );
  });
});
