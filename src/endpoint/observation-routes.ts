import { setImmediate } from 'node:timers/promises';
import { ObservationsLostError, type Observation } from '@owlmq/kafka-bridge/operations';
import type { FastifyInstance } from 'fastify';
import { stateFrom, type EndpointContext } from './context.js';
import { bodyBytes } from './body-bytes.js';
import { inTime, tooLate } from './in-time.js';
import { InTurn } from './in-turn.js';
import { BatchDigester, checkCovered, checkShadows, readBatch, type ObservationBatch } from './observation-batch.js';
import { pointerOf, readPath } from './parameters.js';
import { ProblemError, type RequestProblem } from './problem.js';

/** Observations of all requests that Kafka has not acknowledged yet, and bytes of the bodies that they came in. */
const MAX_PENDING = 10_000;
const MAX_PENDING_BYTES = 32 * 1024 * 1024;
/** Of computing in one go: the worker has more to do. */
const TURN_MS = 10;
const MAX_TOLD = 50;

/** `POST /v1/migrations/{migration}/observations` */
export function observationRoutes(app: FastifyInstance, context: EndpointContext): void {
  const turns = new InTurn();
  const pending = { count: 0, bytes: 0 };

  app.post('/v1/migrations/:migration/observations', async (request) => {
    const { migration } = readPath(request.params);
    const batch = readBatch(request.body);
    const count = batch.observations.length;
    const bytes = bodyBytes(request);
    if (pending.count + count > MAX_PENDING || pending.bytes + bytes > MAX_PENDING_BYTES) {
      throw new ProblemError(
        'throttled',
        `Kafka has not yet taken ${pending.count} observations of ${pending.bytes} bytes: nothing was stored, send it again later.`,
      );
    }
    pending.count += count;
    pending.bytes += bytes;
    return await inTime((late) =>
      // Until the producer has done with them, however long the client waits.
      storedInTurn(migration, batch, late).finally(() => {
        pending.count -= count;
        pending.bytes -= bytes;
      }),
    );
  });

  async function storedInTurn(migration: string, batch: ObservationBatch, late: AbortSignal) {
    const { acknowledged, ...told } = await turns.run(migration, () => store(migration, batch, late));
    try {
      await acknowledged;
    } catch (error) {
      if (!(error instanceof ObservationsLostError)) throw error;
      throw new ProblemError(
        'unavailable',
        'Kafka did not take the observations: some may be stored. Send all of it again.',
        [],
        { cause: error },
      );
    }
    return told;
  }

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
