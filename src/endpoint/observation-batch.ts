import {
  OutputDigester,
  parsePointer,
  tellError,
  tellOutput,
  type Observation,
  type RoutingState,
} from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';
import { asRequestProblem, nameSchema, pointerOf, wholeNumber } from './parameters.js';
import { ProblemError, type RequestProblem } from './problem.js';

const MAX_OBSERVATIONS = 1_000;
const MAX_KEY_CHARS = 1_500_000;
const MAX_VERSION_CHARS = 100;

const howOutputsAreTold = {
  /** JSON pointers of what may differ. */
  ignore: z.array(z.string().max(1_000)).max(100).optional(),
  capture: z.boolean().optional(),
};

const itemSchema = z.strictObject({
  group: nameSchema,
  side: z.enum(['live', 'shadow']),
  topic: nameSchema,
  partition: wholeNumber,
  id: nameSchema,
  kafka: wholeNumber,
  owlmq: wholeNumber.optional(),
  time: z.number().int(),
  key: z.base64().max(MAX_KEY_CHARS).nullable(),
  epoch: wholeNumber,
  handlerVersion: z.string().max(MAX_VERSION_CHARS).optional(),
  output: z.unknown().optional(),
  error: z.strictObject({ name: z.string().min(1), message: z.string() }).optional(),
  ...howOutputsAreTold,
});
type Item = z.infer<typeof itemSchema>;

const batchSchema = z.strictObject({
  observations: z.array(itemSchema).min(1).max(MAX_OBSERVATIONS),
  ...howOutputsAreTold,
});
export type ObservationBatch = z.infer<typeof batchSchema>;

/**
 * Reads the body of a request.
 *
 * @throws {ProblemError} `invalid-request`, with everything that is wrong.
 */
export function readBatch(body: unknown): ObservationBatch {
  const parsed = batchSchema.safeParse(body);
  const items = loose.safeParse(body).data?.observations ?? [];
  const problems = (parsed.error?.issues ?? []).map(asRequestProblem);
  problems.push(...betweenFields(items), ...pointerProblems(body, items));
  if (parsed.success && problems.length === 0) return parsed.data;
  throw new ProblemError('invalid-request', 'The observations cannot be read: nothing was stored.', problems);
}

/** Of anything, so that it is told together with what is wrong with the fields themselves. */
const loose = z.object({
  observations: z.array(
    z
      .looseObject({
        group: z.string().catch(''),
        side: z.string().catch(''),
        topic: z.string().catch(''),
        partition: z.number().catch(-1),
        kafka: z.number().optional().catch(undefined),
        owlmq: z.number().optional().catch(undefined),
      })
      .catch({ group: '', side: '', topic: '', partition: -1, kafka: undefined, owlmq: undefined }),
  ),
});

type LooseItems = z.infer<typeof loose>['observations'];

function betweenFields(items: LooseItems): RequestProblem[] {
  const problems: RequestProblem[] = [];
  const furthest = new Map<string, number>();
  for (const [index, item] of items.slice(0, MAX_OBSERVATIONS).entries()) {
    const at = (name?: string): string => pointerOf(['observations', index, ...(name === undefined ? [] : [name])]);
    if ('output' in item === 'error' in item) {
      problems.push({
        at: at(),
        problem: 'must have one of output and error: what the handler returned, or how it failed',
      });
    }
    const { group, side, topic, partition, kafka, owlmq } = item;
    const own = side === 'shadow' ? (owlmq ?? kafka) : kafka;
    if (own === undefined) continue;
    const lane = JSON.stringify([group, side, topic, partition]);
    const before = furthest.get(lane);
    if (before !== undefined && own < before) {
      problems.push({
        at: at(side === 'shadow' && owlmq !== undefined ? 'owlmq' : 'kafka'),
        problem: `comes behind ${before}: a side's observations of a partition come in the order of its offsets`,
      });
    }
    furthest.set(lane, Math.max(own, before ?? 0));
  }
  return problems;
}

const withPointers = z.looseObject({ ignore: z.array(z.string()).optional().catch(undefined) });

function pointerProblems(body: unknown, items: LooseItems): RequestProblem[] {
  return [{ of: body, path: [] as PropertyKey[] }, ...items.map((of, index) => ({ of, path: ['observations', index] }))]
    .flatMap(({ of, path }) => (withPointers.safeParse(of).data?.ignore ?? []).map((one, at) => ({ one, path, at })))
    .flatMap(({ one, path, at }) => {
      try {
        parsePointer(one);
        return [];
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        return [{ at: pointerOf([...path, 'ignore', at]), problem: error.message }];
      }
    });
}

/**
 * What a routing state does not name of a batch.
 *
 * @throws {ProblemError} `not-covered`
 */
export function checkCovered({ observations }: ObservationBatch, state: RoutingState): void {
  const { groups, topics } = state;
  const problems = observations.flatMap(({ group, topic }, index): RequestProblem[] => [
    ...(groups.includes(group)
      ? []
      : [{ at: pointerOf(['observations', index, 'group']), problem: `is none of ${groups.join(', ')}` }]),
    ...(topics.includes(topic)
      ? []
      : [{ at: pointerOf(['observations', index, 'topic']), problem: `is none of ${topics.join(', ')}` }]),
  ]);
  if (problems.length === 0) return;
  throw new ProblemError(
    'not-covered',
    `Epoch ${state.epoch} of ${state.migration} does not name every group and topic that was observed: nothing was stored. Start the migration with them, or observe for another one.`,
    problems,
  );
}

/**
 * While shadows run on OwlMQ, one tells the offset there: it is the order in which it saw the messages.
 *
 * @throws {ProblemError} `invalid-request`
 */
export function checkShadows({ observations }: ObservationBatch, state: RoutingState): void {
  if (state.shadow !== 'compare') return;
  const problems = observations.flatMap(({ side, owlmq }, index): RequestProblem[] =>
    side === 'live' || owlmq !== undefined
      ? []
      : [{ at: pointerOf(['observations', index, 'owlmq']), problem: 'is missing: shadows run on OwlMQ now' }],
  );
  if (problems.length === 0) return;
  throw new ProblemError('invalid-request', 'A shadow tells its offset in OwlMQ: nothing was stored.', problems);
}

/** Turns what was sent into observations as the library writes them: digests, and no payload unless it is captured. */
export class BatchDigester {
  readonly #migration: string;
  readonly #digestKey: string | undefined;
  readonly #batch: ObservationBatch;
  readonly #digesters = new Map<string, OutputDigester>();

  constructor(migration: string, digestKey: string | undefined, batch: ObservationBatch) {
    this.#migration = migration;
    this.#digestKey = digestKey;
    this.#batch = batch;
  }

  /** @param onUncomparable told why an output has no canonical form. It is stored as one that is equal to no other. */
  observation(item: Item, onUncomparable: (error: Error) => void): Observation {
    const { output, error, key, ignore: _ignore, capture: _capture, owlmq, handlerVersion, time, ...rest } = item;
    const digester = this.#digester(item);
    return {
      migration: this.#migration,
      ...rest,
      // As watermarks: a time that is yet to come would never be passed.
      time: Math.min(time, Date.now()),
      ...(owlmq === undefined ? {} : { owlmq }),
      ...(handlerVersion === undefined ? {} : { handlerVersion }),
      key: key === null ? null : digester.short(Buffer.from(key, 'base64')),
      ...(error === undefined ? tellOutput(digester, () => output, onUncomparable) : tellError(digester, error)),
    };
  }

  #digester(item: Item): OutputDigester {
    const ignore = item.ignore ?? this.#batch.ignore ?? [];
    const capture = item.capture ?? this.#batch.capture ?? false;
    const name = JSON.stringify([ignore, capture]);
    let digester = this.#digesters.get(name);
    if (digester === undefined) {
      const digestKey = this.#digestKey === undefined ? {} : { digestKey: this.#digestKey };
      digester = new OutputDigester({ migration: this.#migration, ...digestKey, ignore, capture });
      this.#digesters.set(name, digester);
    }
    return digester;
  }
}
