import type { FastifyInstance, FastifyRequest } from 'fastify';
import { liveActionSchema, type LiveView } from '@owlmq/kafka-bridge/live-view';
import { z } from 'zod';
import { EventStream } from './event-stream.js';
import type { MigrationWatch, MigrationWatches } from './migration-watch.js';
import type { Migrations } from './migrations.js';
import { PageProblem } from './page-problem.js';

const MOST_STREAMS = 50;
/** A browser then comes again, and is asked for its login. */
const STREAM_LASTS_MS = 3_600_000;

const pathSchema = z.object({ migration: z.string().min(1).max(1_000) });
const text = (most: number) => z.string().trim().max(most);
const requestSchema = z
  .strictObject({
    ...{ action: liveActionSchema, by: text(100).min(1), reason: text(1_000) },
    /** What was seen by who asks: an approval counts in that phase alone. */
    phase: text(100).optional(),
  })
  .refine(({ action, reason }) => reason !== '' || action === 'approve' || action === 'resume', {
    path: ['reason'],
    message: 'say why',
  });

export interface RoutesContext {
  migrations: Migrations;
  watches: MigrationWatches;
  /** Aborts when the page closes: nobody is told any more. */
  closing: AbortSignal;
}

/** What the page and `kafka-bridge status` ask for, and what people may ask of a migration. */
export function migrationRoutes(app: FastifyInstance, { migrations, watches, closing }: RoutesContext): void {
  let streams = 0;

  const seen = async (request: FastifyRequest): Promise<{ watch: MigrationWatch; view: LiveView }> => {
    const watch = watches.of(checked(pathSchema, request.params).migration);
    try {
      return { watch, view: await watch.latest() };
    } catch (error) {
      if (error instanceof PageProblem && error.type === 'unknown-migration') watches.forget(watch);
      throw error;
    }
  };

  app.get('/api/migrations', async () => await migrations.list());

  app.get('/api/migrations/:migration', async (request) => (await seen(request)).view);

  app.get('/api/migrations/:migration/events', async (request, reply) => {
    if (streams >= MOST_STREAMS) throw new PageProblem('throttled', 'Too many pages are open: close some.');
    streams += 1;
    try {
      const { watch, view } = await seen(request);
      const stream = new EventStream(reply);
      stream.send('samples', watch.samples);
      stream.send('view', view);
      const stop = watch.follow((next) => {
        if (next === undefined) stream.end();
        else stream.send('view', next);
      });
      const end = (): void => {
        stream.end();
      };
      const lasts = setTimeout(end, STREAM_LASTS_MS);
      closing.addEventListener('abort', end);
      await stream.closed;
      clearTimeout(lasts);
      closing.removeEventListener('abort', end);
      stop();
    } finally {
      streams -= 1;
    }
    return reply;
  });

  app.post('/api/migrations/:migration/requests', async (request) => {
    const { migration } = checked(pathSchema, request.params);
    const { action, by, reason, phase } = checked(requestSchema, request.body);
    request.log.info({ migration, action, by }, 'asked on the live page');
    return {
      answer: await migrations.ask(migration, action, { by, reason, ...(phase === undefined ? {} : { phase }) }),
    };
  });
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new PageProblem('invalid-request', z.prettifyError(parsed.error), { cause: parsed.error });
}
