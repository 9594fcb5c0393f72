import { setImmediate } from 'node:timers/promises';
import { ObservationsLostError, type Observation } from '@owlmq/kafka-bridge/operations';
import type { FastifyInstance } from 'fastify';
import { stateFrom, type EndpointContext } from './context.js';
import { InTurn } from './in-turn.js';
import { BatchDigester, checkCovered, checkShadows, readBatch, type ObservationBatch } from './observation-batch.js';
import { pointerOf, readPath } from './parameters.js';
import { ProblemError, type RequestProblem } from './problem.js';

/** The producer gives up sooner, unless Kafka takes connections and does not answer. */
const ANSWER_WITHIN_MS = 15_000;
/** Observations of all requests that Kafka has not acknowledged yet. */
const MAX_PENDING = 10_000;
/** Of computing in one go: the worker has more to do. */
const TURN_MS = 10;
const MAX_TOLD = 50;

/** `POST /v1/migrations/{migration}/observations` */
export function observationRoutes(app: FastifyInstance, context: EndpointContext): void {
  const turns = new InTurn();
  let pending = 0;

  app.post('/v1/migrations/:migration/observations', async (request) => {
    const { migration } = readPath(request.params);
    const batch = readBatch(request.body);
    const count = batch.observations.length;
    if (pending + count > MAX_PENDING) {
      throw new ProblemError(
        'throttled',
        `Kafka has not yet taken ${pending} observations: nothing was stored, send it again later.`,
      );
    }
    pending += count;
    const late = AbortSignal.timeout(ANSWER_WITHIN_MS);
    // Until the producer has done with them, however long the client waits.
    const stored = turns
      .run(migration, () => store(migration, batch, late))
      .then(async ({ acknowledged, ...told }) => {
        await acknowledged;
        return told;
      })
      .finally(() => {
        pending -= count;
      });
    return await answered(stored, late);
  });

  /** Gives the observations to the producer, in order; they are acknowledged later. */
  async function store(migration: string, batch: ObservationBatch, late: AbortSignal) {
    // Sent again by now.
    if (late.aborted) throw tooLate();
    const { observations } = batch;
    const state = await stateFrom(context, migration, Math.max(...observations.map(({ epoch }) => epoch)));
    checkCovered(batch, state);
    checkShadows(batch, state);
    const unknown = await context.partitions.problems(
      observations.map(({ topic, partition }, index) => ({
        at: pointerOf(['observations', index, 'partition']),
        topic,
        partition,
      })),
    );
    if (unknown.length > 0) {
      throw new ProblemError('not-covered', 'A partition does not exist: nothing was stored.', unknown);
    }
    const { made, uncomparable } = await digested(migration, batch);
    return {
      acknowledged: context.observations.write(made),
      stored: made.length,
      epoch: state.epoch,
      uncomparable: uncomparable.slice(0, MAX_TOLD),
    };
  }

  async function digested(
    migration: string,
    batch: ObservationBatch,
  ): Promise<{ made: Observation[]; uncomparable: RequestProblem[] }> {
    const digester = new BatchDigester(migration, context.digestKey, batch);
    const uncomparable: RequestProblem[] = [];
    const made: Observation[] = [];
    let begun = performance.now();
    for (const [index, item] of batch.observations.entries()) {
      made.push(
        digester.observation(item, ({ message }) => {
          uncomparable.push({ at: pointerOf(['observations', index, 'output']), problem: message });
        }),
      );
      if (performance.now() - begun < TURN_MS) continue;
      await setImmediate();
      begun = performance.now();
    }
    return { made, uncomparable };
  }
}

/** What was stored, or why not, in bounded time. */
async function answered<T>(stored: Promise<T>, late: AbortSignal): Promise<T> {
  const timeout = new Promise<never>((_, reject) => {
    late.addEventListener('abort', () => {
      reject(tooLate());
    });
  });
  try {
    return await Promise.race([stored, timeout]);
  } catch (error) {
    if (!(error instanceof ObservationsLostError)) throw error;
    throw new ProblemError(
      'unavailable',
      'Kafka did not take the observations: some may be stored. Send all of it again.',
      [],
      { cause: error },
    );
  }
}

function tooLate(): ProblemError {
  return new ProblemError('unavailable', 'Kafka did not answer in time: some may be stored. Send all of it again.');
}
