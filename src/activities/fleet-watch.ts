import { isLiving, pause, type PublisherReport } from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { sliceEnd, withHeartbeat } from './heartbeat.js';
import type { FleetFigures, MigrationActivities, WatchFleetRequest } from './migration-activities.js';
import { Sustained, SustainedNames } from './sustained.js';

/** Members report each second. */
const LOOK_EVERY_MS = 1_000;
/** Fewer failed copies than these end no slice, whatever their share. */
const ALARMING = 10;

/** Counters of one instance: copies acknowledged, copies dropped, requests failed. */
type Counters = [copies: number, dropped: number, failedRequests: number];

interface Details {
  figures: FleetFigures;
  /** What instances had counted when the slice began. */
  base: Record<string, Counters>;
}

/** The step that watches what publishers report while a ratio is held. */
export function fleetWatchActivities({ roster }: Dependencies): Pick<MigrationActivities, 'watchFleet'> {
  return {
    watchFleet: (request) =>
      withHeartbeat<FleetFigures, Details>(async ({ signal, resumed, record }) => {
        const watch = new FleetWatch(request, resumed);
        const end = sliceEnd(request.sliceMs);
        const started = performance.now();
        for (;;) {
          await roster.readToEnd();
          watch.look(roster.members(request.migration), performance.now());
          record(watch.details);
          const failed = watch.hasFailed(performance.now() - started);
          if (signal.aborted || failed || Date.now() >= end) return watch.details.figures;
          await pause(Math.max(0, Math.min(LOOK_EVERY_MS, end - Date.now())), signal);
        }
      }),
  };
}

interface Member {
  report: { role: string };
  silentMs: number;
}

/** What publishers report, look by look, as figures of a stretch of time. */
export class FleetWatch {
  readonly #request: WatchFleetRequest;
  readonly #before: FleetFigures | undefined;
  readonly #latency: Sustained;
  readonly #backlog: Sustained;
  readonly #oldestCopy: Sustained;
  readonly #behind: SustainedNames;
  readonly #cutOff: SustainedNames;
  #base: Record<string, Counters> | undefined;
  #details: Details | undefined;
  #looks = 0;

  /** @param resumed what an earlier attempt has seen: the worst of it stays. */
  constructor(request: WatchFleetRequest, resumed: Details | undefined) {
    this.#request = request;
    this.#before = resumed?.figures;
    this.#base = resumed?.base;
    // Of a short slice half must be enough.
    const sustainedMs = Math.min(request.sustainedMs, request.sliceMs / 2);
    this.#latency = new Sustained(sustainedMs);
    this.#backlog = new Sustained(sustainedMs);
    this.#oldestCopy = new Sustained(sustainedMs);
    this.#behind = new SustainedNames(sustainedMs);
    this.#cutOff = new SustainedNames(sustainedMs);
  }

  get details(): Details {
    if (this.#details === undefined) throw new TypeError('nobody has looked at the fleet yet');
    return this.#details;
  }

  /** @param at monotonic time of the look, ms. */
  look(members: readonly Member[], at: number): void {
    const publishers = members.flatMap(({ report, silentMs }) =>
      report.role === 'publisher' ? [{ report: report as PublisherReport, silentMs }] : [],
    );
    // One that comes later counts from its start, which is in the slice.
    this.#base ??= Object.fromEntries(publishers.map(({ report }) => [report.instance, countersOf(report)]));
    const living = publishers.filter(isLiving).map(({ report }) => report);
    const worst = {
      latencyMs: largest(living.map(({ owlmqLatencyMs }) => owlmqLatencyMs)),
      backlog: Math.max(0, ...living.map(({ backlog }) => backlog)),
      oldestCopyMs: largest(living.map(({ oldestCopyMs }) => oldestCopyMs)),
    };
    if (worst.latencyMs !== null) this.#latency.add(worst.latencyMs, at);
    this.#backlog.add(worst.backlog, at);
    if (worst.oldestCopyMs !== null) this.#oldestCopy.add(worst.oldestCopyMs, at);
    this.#behind.add(namesOf(living.filter(({ epoch }) => epoch < this.#request.epoch)), at);
    this.#cutOff.add(namesOf(living.filter(({ mirrorDegraded }) => mirrorDegraded)), at);
    this.#looks += 1;
    const counted = publishers.map(({ report }) => growth(countersOf(report), this.#base?.[report.instance]));
    const sum = (index: 0 | 1 | 2): number => counted.reduce((total, counters) => total + counters[index], 0);
    const before = this.#before;
    const figures: FleetFigures = {
      looks: (before?.looks ?? 0) + this.#looks,
      living: living.length,
      behind: [...new Set([...(before?.behind ?? []), ...this.#behind.names])].slice(0, 20),
      cutOff: [...new Set([...(before?.cutOff ?? []), ...this.#cutOff.names])].slice(0, 20),
      latencyMs: largest([before?.latencyMs, this.#latency.worst]),
      backlog: Math.max(before?.backlog ?? 0, this.#backlog.worst ?? 0),
      oldestCopyMs: largest([before?.oldestCopyMs, this.#oldestCopy.worst]),
      copies: sum(0),
      dropped: sum(1),
      failedRequests: sum(2),
    };
    this.#details = { figures, base: this.#base };
  }

  /** Whether the step has failed whatever comes: what is kept is the worst, and shares are taken of all to come. */
  hasFailed(elapsedMs: number): boolean {
    const { limits, sliceMs } = this.#request;
    const { behind, cutOff, latencyMs, backlog, oldestCopyMs, copies, dropped, failedRequests } = this.details.figures;
    if (behind.length > 0 || cutOff.length > 0 || backlog > limits.backlog) return true;
    if ((latencyMs ?? 0) > limits.latencyMs || (oldestCopyMs ?? 0) > limits.oldestCopyMs) return true;
    const failures = dropped + failedRequests;
    const expected = (copies + failures) * Math.max(1, sliceMs / Math.max(1, elapsedMs));
    return failures >= ALARMING && failures > limits.copyFailures * expected;
  }
}

function countersOf({ owlmq, dropped, copyErrors }: PublisherReport): Counters {
  return [owlmq.messages, dropped, copyErrors ?? 0];
}

function growth(now: Counters, before: Counters = [0, 0, 0]): Counters {
  return [now[0] - before[0], now[1] - before[1], now[2] - before[2]];
}

function namesOf(reports: readonly PublisherReport[]): string[] {
  return reports.map(({ instance }) => instance);
}

function largest(values: readonly (number | null | undefined)[]): number | null {
  const known = values.filter((value) => typeof value === 'number');
  return known.length === 0 ? null : Math.max(...known);
}
