import type { Socket } from 'node:net';
import { RECORDS_MEDIA_TYPE } from '@owlmq/kafka-bridge/contract';
import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { ApiKeys } from '../api-keys.js';
import type { Context } from './context.js';
import { groupRoutes } from './group-routes.js';
import { ProblemError } from './problem.js';
import { topicRoutes } from './topic-routes.js';

export interface AppOptions {
  context: Context;
  apiKeys: ApiKeys;
  logger: FastifyBaseLogger | undefined;
  /** Why requests cannot be served now; undefined when they can. */
  unavailable(): string | undefined;
  /** Told how many bytes of bodies are held, more or less. */
  inflight: { bytes: number };
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
const PUBLIC_PATHS = new Set(['/healthz', '/metrics']);
const RETRY_AFTER_SECONDS = 1;
/** How long a client may take to send the rest of a body that is refused. */
const RECEIVE_REST_MS = 5_000;

/** The HTTP face: routes, API keys, limits, and RFC 9457 problems for everything that goes wrong. */
export function buildApp(options: AppOptions): FastifyInstance {
  const { context, inflight } = options;
  const app = fastify({
    ...(options.logger === undefined
      ? {}
      : { loggerInstance: options.logger, logController: new LogController({ disableRequestLogging: true }) }),
    bodyLimit: context.limits.maxBatchBytes,
    requestTimeout: 30_000,
    keepAliveTimeout: 60_000,
    routerOptions: { maxParamLength: 1000 },
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    clientErrorHandler: answerBrokenRequest,
  });

  app.addContentTypeParser(RECORDS_MEDIA_TYPE, { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });
  app.setErrorHandler(async (error: FastifyError | ProblemError, request, reply) => {
    const problem = asProblem(error, request);
    if (problem.problem.type === 'too-large') await receiveRest(request);
    return await sendProblem(reply, problem);
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, new ProblemError('not-found', `There is no ${request.method} ${pathOf(request)}`)),
  );

  app.addHook('onRequest', async (request, reply) => {
    if (!PUBLIC_PATHS.has(pathOf(request)) && !options.apiKeys.accepts(request.headers.authorization)) {
      throw new ProblemError('unauthorized', 'Send a known API key as "Authorization: Bearer KEY"');
    }
    const reason = options.unavailable();
    if (reason !== undefined) {
      reply.header('connection', 'close');
      throw new ProblemError('unavailable', reason);
    }
    holdBody(request, reply, inflight, context.limits.maxInflightBytes);
    await Promise.resolve();
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    context.metrics.requests.observe(
      { method: request.method, route, status: reply.statusCode },
      reply.elapsedTime / 1000,
    );
    await Promise.resolve();
  });

  const methodsOf = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set();
    methodsOf.set(url, methods);
    for (const name of [method].flat()) methods.add(name);
  });
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/metrics', async (_request, reply) =>
    reply.type(context.metrics.contentType).send(await context.metrics.text()),
  );
  topicRoutes(app, context);
  groupRoutes(app, context);
  refuseOtherMethods(app, methodsOf);
  return app;
}

/** Counts a body until its request is answered, and refuses it when too many bytes are held already. */
function holdBody(request: FastifyRequest, reply: FastifyReply, inflight: { bytes: number }, limit: number): void {
  if (request.method === 'GET' || request.method === 'DELETE') return;
  const declared = Number(request.headers['content-length']);
  const bytes = Number.isFinite(declared) ? declared : request.routeOptions.bodyLimit;
  if (inflight.bytes > 0 && inflight.bytes + bytes > limit) {
    throw new ProblemError('throttled', `${inflight.bytes} bytes of requests are under way; ${limit} are allowed`);
  }
  inflight.bytes += bytes;
  reply.raw.once('close', () => {
    inflight.bytes -= bytes;
  });
}

function refuseOtherMethods(app: FastifyInstance, methodsOf: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, methods] of [...methodsOf]) {
    const allowed = [...methods].join(', ');
    const method = METHODS.filter((name) => !methods.has(name));
    app.route({
      url,
      method,
      handler: (request, reply) => {
        reply.header('allow', allowed);
        throw new ProblemError('method-not-allowed', `${pathOf(request)} has ${allowed}, not ${request.method}`);
      },
    });
  }
}

/**
 * Reads and drops what is still to come of a body that is too large. A connection that is closed with bytes unread is
 * reset, and a client that is still sending would then see that instead of the answer.
 */
async function receiveRest({ raw }: FastifyRequest): Promise<void> {
  if (raw.readableEnded || raw.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, RECEIVE_REST_MS);
    raw.once('close', resolve).once('end', resolve).resume();
    raw.once('end', () => {
      clearTimeout(timer);
    });
  });
}

function asProblem(error: FastifyError | ProblemError, request: FastifyRequest): ProblemError {
  if (error instanceof ProblemError) {
    if (error.cause !== undefined && error.problem.status >= 500) request.log.error(error);
    return error;
  }
  const status = error.statusCode ?? 500;
  if (status === 413) return new ProblemError('too-large', error.message, {}, { cause: error });
  if (status === 415) return new ProblemError('unsupported-media-type', error.message, {}, { cause: error });
  if (status >= 400 && status < 500) return new ProblemError('invalid-request', error.message, {}, { cause: error });
  request.log.error(error);
  return new ProblemError('internal', 'The server has a defect; see its log', {}, { cause: error });
}

function sendProblem(reply: FastifyReply, { problem }: ProblemError): FastifyReply {
  if (problem.status === 429 || problem.status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS);
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? request.url;
}

/** For what is not HTTP at all, where there is no reply object. */
function answerBrokenRequest(this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { problem } = new ProblemError('invalid-request', 'The request is not well-formed HTTP');
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
