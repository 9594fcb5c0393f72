import {
  bodyHead,
  encodeHeads,
  HEADS_MEDIA_TYPE,
  RecordFramesError,
  RECORDS_MEDIA_TYPE,
  requestSchemas,
  scanFrames,
  type Contract,
  type Frame,
} from '@owlmq/kafka-bridge/contract';
import { partitionEvent, type FrameRun } from '../store/topic-log.js';
import type { Context, Routes } from './context.js';
import { countParameter, goneSignal, integerParameter, nameParameter, textParameter } from './parameters.js';
import { ProblemError } from './problem.js';

/** Topics, and writing, finding and reading their records. */
export const topicRoutes: Routes = (app, context) => {
  const { log, limits } = context;

  app.get('/v1/limits', (): Contract['Limits'] => {
    const { maxBatchRecords, maxBatchBytes, maxRecordBytes, maxLookupIds, maxFetchBytes, maxWaitMs } = limits;
    return { maxBatchRecords, maxBatchBytes, maxRecordBytes, maxLookupIds, maxFetchBytes, maxWaitMs };
  });

  app.get('/v1/topics', (): Contract['TopicList'] => ({ topics: log.list() }));

  app.get('/v1/topics/:topic', ({ params }): Contract['Topic'] => log.describe(nameParameter(params, 'topic')));

  app.put('/v1/topics/:topic', { schema: { body: requestSchemas.CreateTopic } }, async ({ params, body }, reply) => {
    const topic = nameParameter(params, 'topic');
    const created = await log.create(topic, (body as Contract['CreateTopic']).partitions);
    return reply.code(created ? 201 : 200).send(log.describe(topic));
  });

  app.post('/v1/topics/:topic/records', async ({ params, body }): Promise<Contract['PublishResults']> => {
    const topic = nameParameter(params, 'topic');
    if (!Buffer.isBuffer(body))
      throw new ProblemError('unsupported-media-type', `Records travel as ${RECORDS_MEDIA_TYPE}`);
    const frames = framesOf(body);
    if (frames.length > limits.maxBatchRecords) {
      throw new ProblemError(
        'too-large',
        `The batch has ${frames.length} records; ${limits.maxBatchRecords} are allowed`,
      );
    }
    const results = await log.publish(topic, body, frames);
    countResults(context, topic, body.length, results);
    return { results };
  });

  app.post(
    '/v1/topics/:topic/lookup',
    { schema: { body: requestSchemas.Lookup } },
    ({ params, body }): Contract['LookupResult'] => {
      const { ids } = body as Contract['Lookup'];
      if (ids.length > limits.maxLookupIds) {
        throw new ProblemError('too-large', `${ids.length} ids were asked for; ${limits.maxLookupIds} are allowed`);
      }
      return { places: log.lookup(nameParameter(params, 'topic'), ids) };
    },
  );

  app.get('/v1/topics/:topic/partitions/:partition/records', async ({ params, query, headers }, reply) => {
    const topic = nameParameter(params, 'topic');
    const partition = integerParameter(params, 'partition');
    const offset = integerParameter(query, 'offset');
    const maxRecords = countParameter(query, 'maxRecords', 1000);
    const maxBytes = Math.min(countParameter(query, 'maxBytes', 1024 * 1024), limits.maxFetchBytes);
    const waitMs = Math.min(integerParameter(query, 'waitMs', 0), limits.maxWaitMs);
    const read = (): FrameRun => log.read(topic, partition, offset, maxRecords, maxBytes);
    let run = read();
    if (run.count === 0 && waitMs > 0) {
      await context.notifier.wait([partitionEvent(topic, partition)], waitMs, goneSignal(reply));
      run = read();
    }
    reply.header('owlmq-end-offset', log.endOffset(topic, partition)).header('vary', 'accept');
    if (prefersHeads(headers.accept ?? '')) {
      return reply.type(HEADS_MEDIA_TYPE).send(encodeHeads(run.slices, run.count, textParameter(query, 'header')));
    }
    return reply.type(RECORDS_MEDIA_TYPE).send(Buffer.concat([bodyHead(run.count), ...run.slices]));
  });

  app.get('/v1/topics/:topic/offsets', ({ params, query }): Contract['OffsetsForTime'] => {
    return { offsets: log.offsetsForTime(nameParameter(params, 'topic'), integerParameter(query, 'time')) };
  });
};

/** Whether an `Accept` gives heads a higher quality than records. Heads that nothing names are not wanted. */
function prefersHeads(accept: string): boolean {
  const qualities = new Map<string, number>();
  for (const item of accept.split(',')) {
    const [type = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
    const quality = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    qualities.set(type, quality === undefined ? 1 : Number(quality));
  }
  const records = qualities.get(RECORDS_MEDIA_TYPE) ?? qualities.get('*/*') ?? 0;
  return (qualities.get(HEADS_MEDIA_TYPE) ?? 0) > records;
}

function framesOf(body: Buffer): Frame[] {
  try {
    return scanFrames(body);
  } catch (error) {
    if (error instanceof RecordFramesError)
      throw new ProblemError('malformed-records', `The body ${error.message}`, {}, { cause: error });
    throw error;
  }
}

function countResults({ metrics }: Context, topic: string, bytes: number, results: Contract['PublishResult'][]): void {
  const counts = { written: 0, duplicate: 0, rejected: 0 };
  for (const result of results) counts[result.ok ? (result.duplicate ? 'duplicate' : 'written') : 'rejected']++;
  for (const [outcome, count] of Object.entries(counts)) if (count > 0) metrics.entries.inc({ topic, outcome }, count);
  metrics.publishedBytes.inc({ topic }, bytes);
}
