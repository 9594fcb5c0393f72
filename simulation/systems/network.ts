import type { Process, World } from '../clock/world.js';

/** A request got no answer in time, or the service is not there. Whether it was carried out is not known. */
class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
}

/** Kafka or OwlMQ, as the network has it. */
export class Service {
  up = true;
  /** Processes that do not reach it. */
  readonly cut = new Set<Process>();
  constructor(readonly name: 'kafka' | 'owlmq') {}

  reaches(process: Process): boolean {
    return this.up && !this.cut.has(process);
  }
}

export interface NetworkFaults {
  /** Share of requests, and of answers, that get lost. */
  loss: number;
  /** Share of requests that arrive seconds late, after their sender has given them up. */
  late: number;
  /** Whether there were such ones, whatever the share is by now. */
  readonly mayBeLate: boolean;
  /** Most that a request or an answer takes, ms. */
  latencyMs: number;
}

export interface RequestOptions {
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Of a connection that is kept: nothing of it arrives after what was sent later. */
  ordered?: boolean;
}

/** Answers a request, now or later; calling it more than once does nothing. */
export type Reply<T> = (answer: T) => void;

/** Carries requests: late, out of order with those of other connections, lost on the way there or back. */
export class Network {
  constructor(
    readonly world: World,
    readonly faults: NetworkFaults,
  ) {}

  /**
   * Asks a service. `serve` runs when the request arrives; what it throws is the answer.
   *
   * @throws {NoAnswerError}
   */
  async ask<T>(from: Process, to: Service, serve: () => T, options: RequestOptions = {}): Promise<T> {
    return await this.poll<T>(
      from,
      to,
      (reply) => {
        reply(serve());
      },
      options,
    );
  }

  /** As `ask`, of a service that may answer later. */
  async poll<T>(
    from: Process,
    to: Service,
    serve: (reply: Reply<T>) => void,
    options: RequestOptions = {},
  ): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      this.send(from, to, serve, options, (error, answer) => {
        if (error === undefined) resolve(answer as T);
        else reject(error);
      });
    });
  }

  /** The same with a callback, for what asks all the time. */
  send<T>(
    from: Process,
    to: Service,
    serve: (reply: Reply<T>) => void,
    { timeoutMs = 1_000, signal, ordered = false }: RequestOptions,
    done: (error: Error | undefined, answer?: T) => void,
  ): void {
    const { world } = this;
    const { random } = world;
    const { loss, late, latencyMs } = this.faults;
    let open = true;
    const end = (error: Error | undefined, answer?: T): void => {
      if (!open) return;
      open = false;
      timer.cancelled = true;
      signal?.removeEventListener('abort', abort);
      done(error, answer);
    };
    const abort = (): void => {
      end(new NoAnswerError('ended'));
    };
    const timer = world.timer(from, timeoutMs, () => {
      end(new NoAnswerError(`${to.name} did not answer in ${timeoutMs} ms`));
    });
    signal?.addEventListener('abort', abort);
    if (random.chance(loss)) return;
    const isLate = !ordered && random.chance(late);
    const there = isLate ? random.between(500, 6_000) : random.between(0, latencyMs);
    world.later(undefined, there, () => {
      if (!to.reaches(from)) {
        // Refused at once, or not answered at all.
        if (random.chance(0.5))
          world.later(from, random.between(1, 20), () => {
            end(new NoAnswerError(`${to.name} is away`));
          });
        return;
      }
      let replied = false;
      const reply = (error: Error | undefined, answer?: T): void => {
        if (replied) return;
        replied = true;
        if (random.chance(loss)) return;
        world.later(from, random.between(0, latencyMs), () => {
          if (to.reaches(from)) end(error, answer);
        });
      };
      try {
        serve((answer) => {
          reply(undefined, answer);
        });
      } catch (error) {
        reply(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }
}
