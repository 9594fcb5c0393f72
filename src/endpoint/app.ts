import bearerAuth from '@fastify/bearer-auth';
import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { EndpointContext } from './context.js';
import { parseExactly } from './exact-json.js';
import { bodyBytes } from './body-bytes.js';
import { memberRoutes } from './member-routes.js';
import { observationRoutes } from './observation-routes.js';
import { ProblemError } from './problem.js';
import { routingRoutes } from './routing-routes.js';

const MAX_BODY_BYTES = 5 * 1024 * 1024;
/** Of bodies that are held at once, all requests together. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;
const MAX_REQUESTS = 500;
const RETRY_AFTER_SECONDS = 1;

/** The HTTP face of the observation endpoint: tokens, limits, and RFC 9457 problems for everything that goes wrong. */
export async function buildApp(
  context: EndpointContext,
  options: { tokens: readonly string[]; logger: FastifyBaseLogger },
): Promise<FastifyInstance> {
  const { logger } = options;
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: 30_000,
    keepAliveTimeout: 60_000,
    routerOptions: { maxParamLength: 1_000 },
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    // Of a path that cannot be read: no hook runs for it, nor the handler below.
    frameworkErrors: (error, request, reply) => {
      sendProblem(request, reply, asProblem(error, request));
    },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.setErrorHandler((error: FastifyError | ProblemError, request, reply) =>
    sendProblem(request, reply, asProblem(error, request)),
  );
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      request,
      reply,
      new ProblemError('not-found', `There is no ${request.method} ${pathOf(request)}: see openapi/observations.yaml.`),
    ),
  );
  app.addHook('onResponse', async (request, reply) => {
    const { method } = request;
    const figures = { method, path: pathOf(request), status: reply.statusCode, ms: Math.round(reply.elapsedTime) };
    if (reply.statusCode < 400) logger.debug(figures, 'answered');
    else logger.info(figures, 'refused');
    await Promise.resolve();
  });

  // Each token is compared in constant time, before anything of the body is read.
  await app.register(bearerAuth, { keys: [...options.tokens], addHook: false, verifyErrorLogLevel: 'debug' });
  const verify = app.verifyBearerAuth;
  if (verify === undefined) throw new TypeError('the plugin for bearer tokens is not there');
  app.addHook('onRequest', verify);
  const held = { bytes: 0, requests: 0 };
  app.addHook('onRequest', async (request, reply) => {
    if (context.closing.aborted) {
      reply.header('connection', 'close');
      throw new ProblemError(
        'unavailable',
        'The worker stops: send the request again, to another one if there is one.',
      );
    }
    hold(request, reply, held);
    await Promise.resolve();
  });

  const methodsOf = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set();
    methodsOf.set(url, methods);
    for (const name of [method].flat()) methods.add(name);
  });
  routingRoutes(app, context);
  memberRoutes(app, context);
  observationRoutes(app, context);
  refuseOtherMethods(app, methodsOf);
  return app;
}

function parseBody(body: Buffer): unknown {
  // As of clients that name a media type in every request.
  if (body.length === 0) return undefined;
  try {
    return parseExactly(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : 'it is not UTF-8';
    throw new ProblemError('invalid-request', `The body is not JSON in UTF-8: ${why.slice(0, 200)}`, [], {
      cause: error,
    });
  }
}

/** Counts a request, and its body, until it is answered. */
function hold(request: FastifyRequest, reply: FastifyReply, held: { bytes: number; requests: number }): void {
  const counted = bodyBytes(request);
  if (held.requests >= MAX_REQUESTS || (held.bytes > 0 && held.bytes + counted > MAX_HELD_BYTES)) {
    throw new ProblemError(
      'throttled',
      `${held.requests} requests with ${held.bytes} bytes are under way: send it again later, and fewer at once.`,
    );
  }
  held.requests += 1;
  held.bytes += counted;
  reply.raw.once('close', () => {
    held.requests -= 1;
    held.bytes -= counted;
  });
}

function refuseOtherMethods(app: FastifyInstance, methodsOf: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, methods] of [...methodsOf]) {
    const allowed = [...methods].join(', ');
    app.route({
      url,
      method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter((name) => !methods.has(name)),
      handler: (request, reply) => {
        reply.header('allow', allowed);
        throw new ProblemError('method-not-allowed', `${pathOf(request)} has ${allowed}, not ${request.method}.`);
      },
    });
  }
}

function asProblem(error: FastifyError | ProblemError, request: FastifyRequest): ProblemError {
  if (error instanceof ProblemError) {
    if (error.status >= 500) request.log.warn({ err: error.cause ?? error }, 'could not be answered');
    return error;
  }
  const cause = { cause: error };
  switch (error.statusCode ?? 500) {
    case 401:
      return new ProblemError('unauthorized', 'Send a known token as "Authorization: Bearer TOKEN".', [], cause);
    case 413:
      return new ProblemError(
        'too-large',
        `A body has at most ${request.routeOptions.bodyLimit} bytes here: send less at once.`,
        [],
        cause,
      );
    case 415:
      return new ProblemError('unsupported-media-type', 'Send a body as application/json.', [], cause);
    default:
      break;
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new ProblemError('invalid-request', error.message, [], cause);
  }
  request.log.error({ err: error }, 'a defect');
  return new ProblemError('internal', 'The worker has a defect: see its log.', [], cause);
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: ProblemError): FastifyReply {
  if (problem.status === 429 || problem.status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS);
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
  // Not its detail, which may show what was sent.
  request.log.debug({ type: problem.type }, 'problem');
  return reply.code(problem.status).type('application/problem+json').send(problem.body);
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? request.url;
}
