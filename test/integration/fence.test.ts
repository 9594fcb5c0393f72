import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import { FleetSteps } from '../../chaos/publishers/control/fleet-steps.js';
import {
  API_KEY,
  routingState,
  testBrokers,
  TwoLegs,
  until,
} from '../../packages/kafka-bridge/test/publisher-fixture.js';
import { PublisherProcess } from '../../packages/kafka-bridge/test/publisher-process.js';

const LEASE_MS = 2_000;
/** What the steps add to a lease before they count a member out. */
const MARGIN_MS = 1_000;
const STEP_MS = 20_000;
let legs: TwoLegs;
let steps: FleetSteps;

beforeEach(async () => {
  legs = await TwoLegs.open();
  steps = new FleetSteps({
    ...{ migration: legs.migration, topics: [legs.topic], brokers: testBrokers() },
    ...{ owlmqUrl: legs.options.owlmq.url, apiKey: API_KEY },
  });
  await steps.prepare(4);
});

afterEach(async () => {
  await steps.close();
  await legs.close();
});

async function route(epoch: number, change: Partial<RoutingState> = {}): Promise<void> {
  const { migration, topic } = legs;
  await steps.write(routingState({ migration, epoch, topics: [topic], leaseMs: LEASE_MS, ...change }), STEP_MS);
}

async function start(): Promise<PublisherProcess> {
  const publisher = await PublisherProcess.start({
    ...legs.options,
    ...{ kafka: { brokers: testBrokers() }, migration: legs.migration, topic: legs.topic, everyMs: 5 },
  });
  onTestFinished(() => {
    publisher.kill();
  });
  await until('it publishes', () => publisher.acknowledged > 20);
  return publisher;
}

describe('a fence over publishers of which one was killed', () => {
  it('waits for the dead one up to its lease after its last report, and not again', async () => {
    await route(1);
    await steps.awaitPublishers(1, false, STEP_MS);
    const [alive, dead] = [await start(), await start()];
    dead.kill();
    const killedAt = performance.now();

    await route(2, { fence: { reason: 'first' } });
    const first = await steps.awaitPublishers(2, true, STEP_MS);
    expect(performance.now() - killedAt).toBeGreaterThan(LEASE_MS / 2);
    expect(first).toMatchObject({ acknowledged: 1, silent: [dead.instance] });
    await route(3);
    await steps.awaitPublishers(3, false, STEP_MS);

    await until('it has been dead for a lease', () => performance.now() - killedAt > LEASE_MS + MARGIN_MS);
    const asked = performance.now();
    await route(4, { fence: { reason: 'second' } });
    const second = await steps.awaitPublishers(4, true, STEP_MS);
    // Not the time of a fence, but far less than a lease.
    expect(performance.now() - asked).toBeLessThan(LEASE_MS);
    expect(second).toMatchObject({ acknowledged: 1, silent: [dead.instance] });
    expect(second.longestHoldMs).toBeLessThan(1_000);
    await route(5);
    await steps.awaitPublishers(5, false, STEP_MS);
    const before = alive.acknowledged;
    await until('the other goes on', () => alive.acknowledged > before + 20);
  });

  it('does not wait for one that is stopped, which writes nothing when it goes on', async () => {
    await route(1);
    const [alive, stopped] = [await start(), await start()];
    stopped.freeze();
    const frozenAt = performance.now();
    await until('it is silent past its lease', () => performance.now() - frozenAt > LEASE_MS + MARGIN_MS + 500);
    const asked = performance.now();
    await route(2, { fence: { reason: 'test' } });
    const fleet = await steps.awaitPublishers(2, true, STEP_MS);
    expect(performance.now() - asked).toBeLessThan(LEASE_MS);
    expect(fleet).toMatchObject({ acknowledged: 1, silent: [stopped.instance] });
    const fenced = await steps.ends('kafka', STEP_MS);
    stopped.thaw();
    await until('it obeys the fence', async () => (await stopped.status()).state === 'fenced');
    expect(await steps.ends('kafka', STEP_MS)).toEqual(fenced);
    await route(3);
    const before = [alive.acknowledged, stopped.acknowledged];
    await until('both go on', () => alive.acknowledged > (before[0] ?? 0) && stopped.acknowledged > (before[1] ?? 0));
  });
});
