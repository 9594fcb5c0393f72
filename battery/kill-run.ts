import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pause, type ComparisonCounts } from '@owlmq/kafka-bridge/operations';
import { Random } from '../chaos/random.js';
import { expectedOf, type Expected } from './fates.js';
import type { JudgeRequest, JudgeTold } from './judge.js';
import type { MemberRequest } from './member.js';
import { BatteryError, Rig } from './rig.js';

export interface KillRunOptions {
  minutes: number;
  /** Orders a second. */
  rate: number;
  seed: number;
  signal: AbortSignal;
  log: (line: string) => void;
}

export interface KillRunReport {
  published: number;
  /** SIGKILLs by what they hit. */
  kills: { comparator: number; consumers: number };
  expected: Expected;
  counted: ComparisonCounts;
  ok: boolean;
}

const GROUP = 'invoices';
const MEMBERS = 3;
const PARTITIONS = 6;
const MEMBER_KILL_MS = [6_000, 15_000] as const;
const JUDGE_KILL_MS = [1_500, 6_000] as const;
const RESTART_MS = [0, 2_000] as const;
const START_WITHIN_MS = 60_000;
const END_WITHIN_MS = 120_000;

/** A process that is started again whenever it was killed. */
class Phoenix {
  #child: ChildProcess | undefined;
  kills = 0;

  constructor(
    private readonly script: string,
    private readonly request: MemberRequest | JudgeRequest,
    private readonly onMessage: (told: unknown) => void,
  ) {}

  start(): void {
    const child = fork(path.join(import.meta.dirname, this.script), [JSON.stringify(this.request)]);
    child.on('message', this.onMessage);
    this.#child = child;
  }

  /** @throws {BatteryError} when it has ended by itself. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new BatteryError(`${this.script} has ended by itself: ${child.exitCode ?? child.signalCode ?? ''}.`);
    }
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    this.#child = undefined;
    this.kills += 1;
  }

  /** Kills it again and again at random times, until the signal. */
  async killAgainAndAgain(random: Random, every: readonly [number, number], signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(random.within(every), signal);
      if (signal.aborted) return;
      await this.kill();
      await pause(random.within(RESTART_MS), signal);
      this.start();
    }
  }
}

/** Consumers and comparator are killed again and again under traffic; then the counts must be those of the orders. */
export async function runKills({ minutes, rate, seed, signal, log }: KillRunOptions): Promise<KillRunReport> {
  const rig = await Rig.open({ groups: [GROUP], partitions: PARTITIONS, signal, log });
  const folder = await mkdtemp(path.join(tmpdir(), 'kafka-to-owlmq-battery-'));
  const running: Phoenix[] = [];
  const ending = new AbortController();
  const stop = AbortSignal.any([ending.signal, signal]);
  let work: Promise<unknown> | undefined;
  try {
    const common = { brokers: rig.connection.brokers, migration: rig.migration, group: GROUP };
    let ready = 0;
    const members = Array.from({ length: MEMBERS }, () => {
      const request = { ...common, topic: rig.topic, owlmq: { ...rig.engines.owlmq } };
      return new Phoenix('member.js', request, () => (ready += 1));
    });
    for (const member of members) {
      member.start();
      running.push(member);
    }
    await until(() => ready === MEMBERS, START_WITHIN_MS, 'the members to start', signal);
    const soak = await rig.startSoak(MEMBERS);
    const judged: { last?: JudgeTold } = {};
    const request = { ...common, ...soak, latenessMs: 2_000, checkpointFile: path.join(folder, 'checkpoint.json') };
    const judge = new Phoenix('judge.js', request, (message) => (judged.last = message as JudgeTold));
    judge.start();
    running.push(judge);

    const all = Promise.all([
      rig.publishSteadily(rate, stop),
      judge.killAgainAndAgain(new Random(seed, 'comparator'), JUDGE_KILL_MS, stop),
      ...members.map((member, index) =>
        member.killAgainAndAgain(new Random(seed, 'member', index), MEMBER_KILL_MS, stop),
      ),
    ]);
    work = all;
    await Promise.race([pause(minutes * 60_000, signal), all]);
    ending.abort();
    const [published] = await all;
    log(`${published} published; the rest is compared …`);
    const comparedAll = (): boolean => {
      const { counts, unmatched = 1 } = judged.last ?? {};
      return counts !== undefined && unmatched === 0 && verdictsOf(counts) >= published;
    };
    await until(comparedAll, END_WITHIN_MS, `all ${published} to be compared: ${JSON.stringify(judged.last)}`, signal);
    const counted = judged.last?.counts;
    if (counted === undefined) throw new BatteryError('Nothing was counted.');
    const expected = expectedOf(published);
    const names = Object.keys(expected) as (keyof Expected)[];
    return {
      published,
      kills: { comparator: judge.kills, consumers: members.reduce((sum, { kills }) => sum + kills, 0) },
      expected,
      counted,
      ok: names.every((name) => counted[name] === expected[name]) && counted.late === 0,
    };
  } finally {
    ending.abort();
    // Whoever kills starts again: none of them may be left.
    await Promise.allSettled([work]);
    await Promise.allSettled(running.map((one) => one.kill()));
    await rig.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function verdictsOf({ matched, different, failedLive, failedShadow, missing, unexpected }: ComparisonCounts): number {
  return matched + different + failedLive + failedShadow + missing + unexpected;
}

async function until(holds: () => boolean, withinMs: number, what: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!holds()) {
    signal.throwIfAborted();
    if (performance.now() > deadline) throw new BatteryError(`Waited ${withinMs / 1_000} s in vain for ${what}.`);
    await sleep(100);
  }
}
