import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { CliError } from '../src/cli/cli-error.js';
import { consequencesOf } from '../src/cli/routing/consequences.js';
import { editState } from '../src/cli/routing/edit.js';
import { standingStates } from '../src/cli/routing/open-routing.js';
import { UnknownTopicError } from '../src/kafka/log-reader.js';
import { MemberReporter } from '../src/members/member-reporter.js';
import type { MemberReport, PublisherReport } from '../src/members/member-report.js';
import { DualPublisher } from '../src/publisher/dual-publisher.js';
import { ROUTING_TOPIC, type RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { runBuilt, runHere } from './cli-harness.js';
import { routingState, testBrokers, TwoLegs, uniqueName, until } from './publisher-fixture.js';

const REASON = ['--reason', 'a test'];
const connection = { brokers: [] as string[] };
let writer: RoutingWriter;

beforeAll(async () => {
  connection.brokers = testBrokers();
  writer = new RoutingWriter({ connection, clientId: 'cli-test' });
  await writer.ensureTopics();
});

afterAll(async () => {
  await writer.close();
});

/** A migration with a state of its own, without members. */
async function migration(change: Partial<RoutingState> = {}): Promise<string> {
  const name = uniqueName('cli');
  await writer.write(routingState({ migration: name, epoch: 7, leaseMs: 1_000, ...change }));
  return name;
}

function publisherReport(name: string, change: Partial<PublisherReport> = {}): PublisherReport {
  const leg = { messages: 0, bytes: 0 };
  return {
    ...{ version: 1, role: 'publisher', migration: name, instance: 'stuck', epoch: 7, leaseMs: 1_000 },
    ...{ at: new Date().toISOString(), state: 'publishing', inFlight: 3, held: 0, longestHoldMs: 0, backlog: 0 },
    ...{ dropped: 0, kafka: leg, owlmq: leg, mirrorDegraded: false, topics: [] },
    ...change,
  };
}

/** A member that never changes what it says. */
async function member(report: MemberReport): Promise<MemberReporter> {
  const { instance } = report;
  const reporter = new MemberReporter({ connection, instance, intervalMs: 200, report: () => report });
  await reporter.start();
  return reporter;
}

describe('routing set', () => {
  it('is obeyed by a running publisher, with no Temporal anywhere', async () => {
    const legs = await TwoLegs.open();
    onTestFinished(() => legs.close());
    const topics = [legs.topic];
    await writer.write(routingState({ migration: legs.migration, epoch: 1, topics, ratio: 1, leaseMs: 3_000 }));
    const publisher = new DualPublisher({ ...legs.options, migration: legs.migration });
    onTestFinished(() => publisher.close());
    await publisher.publish(legs.topic, 'before');
    await until('the copy', async () => (await legs.owlmqRecords()).length === 1);

    const set = async (...flags: string[]) => {
      const { code, out, err } = await runBuilt(
        ['routing', 'set', legs.migration, ...REASON, '--yes', '--output', 'json', ...flags],
        {},
      );
      expect(err).not.toContain('kafka-bridge:');
      return { code, found: JSON.parse(out) as { after: RoutingState; members: { following: string[] } } };
    };
    const fenced = await set('--fence', 'by hand', '--by', 'ann');
    expect(fenced.code).toBe(0);
    expect(fenced.found.after).toMatchObject({ epoch: 10_000, fence: { reason: 'by hand' } });
    expect(fenced.found.after.reason).toBe('by hand (ann): a test');
    expect(fenced.found.members).toMatchObject({ following: [publisher.instance], behind: [], silent: [] });
    let published = false;
    const held = publisher.publish(legs.topic, 'held').then((result) => {
      published = true;
      return result;
    });
    await until('the call is held', () => publisher.status().held === 1);

    const back = await set('--back-to-kafka', '--expect-epoch', '10000');
    expect(back.code).toBe(0);
    expect(back.found.after).toMatchObject({ epoch: 20_000, primary: 'kafka', live: 'kafka', ratio: 0 });
    expect(back.found.after.fence).toBeUndefined();
    await expect(held).resolves.toMatchObject({ epoch: 20_000 });
    expect(published).toBe(true);
    await publisher.flush();
    expect((await legs.kafkaRecords()).map(({ value }) => value?.toString())).toEqual(
      expect.arrayContaining(['before', 'held']),
    );
    expect((await legs.owlmqRecords()).map(({ value }) => value?.toString())).toEqual(['before']);
  });

  it('asks for the name on a terminal, and writes nothing without it', async () => {
    const name = await migration();
    const asked: string[] = [];
    const args = ['routing', 'set', name, '--ratio', '0.5', ...REASON];
    const refused = await runHere(args, (question) => {
      asked.push(question);
      return Promise.resolve('y');
    });
    expect(refused).toMatchObject({ code: 4, err: expect.stringContaining('nothing was written') as string });
    expect((await writer.read(name))?.epoch).toBe(7);
    expect(refused.out).toMatch(/epoch +7 +10000/);
    expect(refused.out).toContain('send resume when it blocks');

    const taken = await runHere(args, () => Promise.resolve(` ${name} `));
    expect(taken.code).toBe(0);
    expect(asked).toHaveLength(1);
    expect(await writer.read(name)).toMatchObject({ epoch: 10_000, ratio: 0.5, topics: ['orders'], leaseMs: 1_000 });
  });

  it('neither asks nor writes for a dry run', async () => {
    const name = await migration();
    const { code, out } = await runHere(['routing', 'set', name, '--primary', 'owlmq', ...REASON, '--dry-run']);
    expect(code).toBe(0);
    expect(out).toContain('No fence stands');
    expect(out).toContain('The way without these risks');
    expect((await writer.read(name))?.epoch).toBe(7);
  });

  it('says all that is wrong with the input at once', async () => {
    const { code, out, err } = await runBuilt(
      ['routing', 'set', 'm', '--primary', 'rabbit', '--ratio', '2', '--wait', 'long', '--confirm-final', 'n'],
      { KAFKA_BROKERS: '', KAFKA_SASL_MECHANISM: 'plain', KAFKA_TLS: 'perhaps' },
    );
    expect(code).toBe(2);
    expect(out).toBe('');
    for (const part of [
      ...['--kafka-brokers (KAFKA_BROKERS) is not set', '--kafka-tls (KAFKA_TLS) is none of', 'KAFKA_SASL_PASSWORD'],
      ...['--primary must be one of', '--ratio must be', '--wait must be', '--reason is needed', '--confirm-final'],
      ...['there is no terminal to confirm on: give --yes'],
    ]) {
      expect(err).toContain(part);
    }
  });

  it('refuses an epoch that was not expected, and one that came while the person read', async () => {
    const name = await migration();
    const args = ['routing', 'set', name, '--ratio', '1', ...REASON];
    const other = await runHere([...args, '--yes', '--expect-epoch', '6']);
    expect(other).toMatchObject({
      code: 4,
      err: expect.stringMatching(/Epoch 6 was expected. Epoch 7 stands/) as string,
    });

    const theirs = routingState({ migration: name, epoch: 8, ratio: 0.3, reason: 'theirs' });
    const late = await runHere(args, async () => {
      await writer.write(theirs);
      return name;
    });
    expect(late).toMatchObject({
      code: 4,
      err: expect.stringMatching(/Superseded.*Epoch 8 stands \(theirs/s) as string,
    });
    expect(await writer.read(name)).toEqual(theirs);
  });

  it('leaves it to the workflow to set shadows going', async () => {
    const name = await migration();
    for (const mode of ['compare', 'noise']) {
      const refused = await runHere(['routing', 'set', name, '--shadow', mode, ...REASON, '--yes']);
      expect(refused).toMatchObject({ code: 4, err: expect.stringContaining('set off or observe') as string });
    }
  });

  it('does not take the drain of a rollback for an audit that is through', async () => {
    const drain = { orders: [5] };
    const name = await migration({ primary: 'owlmq', live: 'owlmq', fence: { reason: 'rollback' }, drain });
    const back = ['routing', 'set', name, '--back-to-kafka', ...REASON, '--yes'];
    expect(await runHere(back)).toMatchObject({ code: 4, err: expect.stringContaining('--drain stop') as string });
    expect(await runHere(['routing', 'set', name, '--drain', 'stop', ...REASON, '--yes'])).toMatchObject({ code: 0 });
    expect(await runHere(back)).toMatchObject({ code: 0 });
  });

  it('writes nothing where all of it stands already', async () => {
    const name = await migration({ ratio: 0.5 });
    const { code, out } = await runHere(['routing', 'set', name, '--ratio', '0.5', ...REASON, '--yes']);
    expect(code).toBe(0);
    expect(out).toContain('nothing is written');
    expect((await writer.read(name))?.epoch).toBe(7);
  });

  it('ends a mirror only for who says so twice, and takes that for final', async () => {
    const name = await migration({ primary: 'owlmq', live: 'owlmq' });
    const args = ['routing', 'set', name, '--no-mirror', ...REASON, '--yes'];
    const refused = await runHere(args);
    expect(refused).toMatchObject({ code: 4, err: expect.stringContaining(`--confirm-final ${name}`) as string });
    const ended = await runHere([...args, '--confirm-final', name]);
    expect(ended.code).toBe(0);
    expect(ended.out).toContain('FINAL');
    expect((await writer.read(name))?.mirror).toBe(false);
    const after = await runHere(['routing', 'set', name, '--back-to-kafka', ...REASON, '--yes']);
    expect(after).toMatchObject({ code: 4, err: expect.stringContaining('is final') as string });
  });

  it('names living members that do not follow, and leaves out those that are gone', async () => {
    const name = await migration();
    const silent = await member(publisherReport(name, { instance: 'killed' }));
    // Without a word, as a process that is killed.
    await silent.stop(publisherReport(name, { instance: 'killed' }));
    const stuck = await member(publisherReport(name));
    const args = ['routing', 'set', name, '--fence', 'x', ...REASON, '--yes', '--wait', '3'];
    const behind = await runHere(args);
    expect(behind.code).toBe(3);
    expect(behind.out).toMatch(/NOT yet:\n +- publisher stuck is on epoch 7 \(publishing\)/);
    expect(behind.out).toContain('hold by themselves: killed');
    await stuck.stop(publisherReport(name, { state: 'left' }));
  });

  it('says so when there is no routing topic, and creates none', async () => {
    const states = standingStates(
      { brokers: ['kafka:9092'] },
      {
        readAll: () => Promise.reject(new UnknownTopicError(ROUTING_TOPIC)),
      },
    );
    await expect(states).rejects.toBeInstanceOf(CliError);
    await expect(states).rejects.toMatchObject({
      exitCode: 4,
      message: expect.stringMatching(/kafka:9092.*worker/) as string,
    });
  });

  it('says so when Kafka cannot be reached', async () => {
    const args = ['routing', 'show', '--kafka-brokers', '127.0.0.1:1'];
    const { code, err } = await runHere(args, undefined, { reachWithinMs: 1_000 });
    expect(code).toBe(5);
    expect(err).toContain('Trying for 1 s');
    expect(err).toContain('ECONNREFUSED');
  });
});

describe('routing show', () => {
  it('lists migrations, and shows one with its members and what stands out', async () => {
    const name = await migration({ fence: { reason: 'cutover' }, groups: ['payments'], ratio: 1 });
    const stuck = await member(publisherReport(name));
    const list = await runHere(['routing', 'show', '--output', 'json']);
    expect(list.code).toBe(0);
    expect(JSON.parse(list.out)).toContainEqual(await writer.read(name));

    const one = await runBuilt(['routing', 'show', name, '--output', 'json']);
    expect(one.code).toBe(3);
    const shown = JSON.parse(one.out) as { members: { instance: string; heard: boolean }[]; standsOut: string[] };
    expect(shown.members).toMatchObject([{ instance: 'stuck', heard: true }]);
    expect(shown.standsOut).toEqual([
      // Written long ago by what the state says.
      expect.stringContaining('The fence stands for'),
      'publisher stuck is not fenced yet (publishing, 3 in flight).',
      'No DualConsumer of group payments reports.',
    ]);
    await stuck.stop(publisherReport(name));
    const silent = await runHere(['routing', 'show', name]);
    expect(silent.out).toContain('publisher stuck is silent');
    expect(silent.out).toMatch(/publishers hold: cutover/);
  });

  it('names the migrations that there are when it does not know one', async () => {
    const name = await migration();
    const { code, err } = await runHere(['routing', 'show', 'unheard-of']);
    expect(code).toBe(4);
    expect(err).toContain(name);
  });
});

describe('what a change is said to do', () => {
  const kafka = routingState({ migration: 'm', epoch: 7, ratio: 1, groups: ['g'] });
  const fenced: RoutingState = { ...kafka, fence: { reason: 'x' }, drain: 'stop' };
  const change = (before: RoutingState, edit: Parameters<typeof editState>[1]) =>
    [before, editState(before, edit, { by: 'ann', reason: 'r' })] as const;

  it('warns of a switch without fence and drain, and shows the way', () => {
    const { warnings, safeWay } = consequencesOf(...change(kafka, { primary: 'owlmq', live: 'owlmq' }), []);
    expect(warnings.join('\n')).toMatch(/No fence stands.*No drain stands/s);
    expect(warnings.join('\n')).toContain('Group positions are not moved');
    expect(safeWay.map((step) => /--fence|audit|positions|--primary owlmq/.exec(step)?.[0])).toEqual([
      ...['--fence', 'audit', 'positions', '--primary owlmq'],
    ]);
  });

  it('names who has not stopped yet under a fence', () => {
    const publisher = publisherReport('m', { instance: 'busy', inFlight: 2 });
    const edit = { primary: 'owlmq', live: 'owlmq', fence: false, drain: false } as const;
    const before = consequencesOf(...change(fenced, edit), [{ report: publisher, heard: true }]);
    expect(before.warnings.join('\n')).toContain('publisher busy is not fenced yet (publishing, 2 in flight)');
    const held = { ...publisher, state: 'fenced', inFlight: 0 } as const;
    const after = consequencesOf(...change(fenced, edit), [{ report: held, heard: true }]);
    expect(after.warnings.join('\n')).not.toMatch(/busy|No fence|No drain/);
    expect(after.safeWay[0]).toContain('audit');
  });

  it('keeps what is not named, and drains to no offsets of the other leg', () => {
    const offsets: RoutingState = { ...kafka, drain: { orders: [5] }, forward: ['orders'] };
    const [, kept] = change(offsets, { ratio: 0.5 });
    expect(kept).toMatchObject({ drain: { orders: [5] }, forward: ['orders'], ratio: 0.5, epoch: 10_000 });
    const [, moved] = change(offsets, { live: 'owlmq' });
    expect(moved.drain).toBe('stop');
  });

  it('takes offsets of a measurement of noise for nothing else', () => {
    const noise: RoutingState = { ...kafka, ratio: 0, shadow: 'noise', shadowFrom: { orders: [5] } };
    const [, kept] = change(noise, { ratio: 0.5 });
    expect(kept).toMatchObject({ shadow: 'noise', shadowFrom: { orders: [5] } });
    expect(change(noise, { shadow: 'compare' })[1].shadowFrom).toBeUndefined();
    expect(change({ ...noise, shadow: 'compare' }, { shadow: 'noise' })[1].shadowFrom).toBeUndefined();
    const { effects, changes } = consequencesOf(...change(noise, { shadow: 'off' }), []);
    expect(effects.join()).toContain('measured no more');
    expect(changes).toContainEqual({
      what: 'shadows',
      before: expect.stringContaining('on Kafka run beside the live consumers') as string,
      after: 'off',
    });
  });
});
