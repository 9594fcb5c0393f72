import cookies from '@fastify/cookie';
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import { z } from 'zod';
import { serveAssets } from './assets.js';
import { PageProblem } from './page-problem.js';
import { migrationRoutes, type RoutesContext } from './routes.js';
import { requireSameOrigin } from './same-origin.js';
import { Sessions } from './sessions.js';

const MAX_BODY_BYTES = 16 * 1024;
const LOGINS_A_MINUTE = 10;
const COOKIE = 'kafka_bridge_page';

export interface AppOptions extends RoutesContext {
  tokens: readonly string[];
  origin: string | undefined;
  logger: FastifyBaseLogger;
}

/** The HTTP face of the live page: who is let in, what a browser may do with it, and problems as JSON. */
export async function buildPageApp(options: AppOptions): Promise<FastifyInstance> {
  const { logger, tokens, origin } = options;
  const sessions = new Sessions(tokens);
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: 30_000,
    routerOptions: { maxParamLength: 3_000 },
    // Browsers keep theirs open, and the worker is to stop.
    forceCloseConnections: true,
    frameworkErrors: (error, request, reply) => {
      sendProblem(request, reply, error);
    },
  });
  app.setErrorHandler((error: FastifyError | PageProblem, request, reply) => sendProblem(request, reply, error));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(request, reply, new PageProblem('not-found', 'There is no such page.')),
  );
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        ...{ scriptSrc: ["'self'"], styleSrc: ["'self'"], connectSrc: ["'self'"], imgSrc: ["'self'"] },
        ...{ baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] },
        requireTrustedTypesFor: ["'script'"],
      },
    },
    xFrameOptions: { action: 'deny' },
    // Whoever ends TLS before it knows for how long it does.
    strictTransportSecurity: false,
  });
  await app.register(cookies);
  await app.register(rateLimit, { global: false });

  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store');
    requireSameOrigin(request, origin);
    await Promise.resolve();
  });

  app.post(
    '/api/login',
    {
      config: {
        rateLimit: {
          max: LOGINS_A_MINUTE,
          timeWindow: '1 minute',
          errorResponseBuilder: () => new PageProblem('throttled', 'Too many logins: try again in a minute.'),
        },
      },
    },
    async (request, reply) => {
      const { data } = z.strictObject({ token: z.string() }).safeParse(request.body);
      if (data === undefined || !sessions.isToken(data.token)) {
        throw new PageProblem('unauthorized', 'This is no token of the page: PAGE_TOKEN of the worker has it.');
      }
      const { cookie, csrf, until } = sessions.begin();
      const secure = request.headers.origin?.startsWith('https:') === true;
      reply.setCookie(COOKIE, cookie, {
        ...{ path: '/', httpOnly: true, sameSite: 'strict', secure, expires: new Date(until) },
      });
      return { csrf };
    },
  );
  // Bound to routes: the router takes a path in more than one spelling.
  await app.register(async (inside) => {
    inside.addHook('onRequest', async (request) => {
      requireLogin(request, sessions);
      await Promise.resolve();
    });
    inside.get(
      '/api/session',
      async (request) => await Promise.resolve({ csrf: sessions.of(request.cookies[COOKIE])?.csrf }),
    );
    inside.post(
      '/api/logout',
      async (_request, reply) => await reply.clearCookie(COOKIE, { path: '/' }).code(204).send(),
    );
    migrationRoutes(inside, options);
    await Promise.resolve();
  });
  await serveAssets(app);
  return app;
}

/**
 * By the cookie of a login, with its word where something is to change; or by a token, which no page sends by itself.
 *
 * @throws {PageProblem} `unauthorized`, `forbidden`
 */
function requireLogin(request: FastifyRequest, sessions: Sessions): void {
  const { authorization, 'x-csrf-token': csrf } = request.headers;
  // Of another kind it is for a proxy before the page.
  const token = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (token !== undefined) {
    if (sessions.isToken(token)) return;
    request.log.warn({ address: request.ip }, 'the live page refused a token');
    throw new PageProblem('unauthorized', 'This is no token of the page: PAGE_TOKEN of the worker has it.');
  }
  const session = sessions.of(request.cookies[COOKIE]);
  if (session === undefined) throw new PageProblem('unauthorized', 'Log in with the token of the page.');
  if (request.method === 'GET' || sessions.knows(session, typeof csrf === 'string' ? csrf : undefined)) return;
  throw new PageProblem('forbidden', 'The page is out of date: load it again.');
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, error: FastifyError | PageProblem): FastifyReply {
  const problem = asProblem(error);
  if (problem.status >= 500) request.log.warn({ err: error }, 'the live page could not answer');
  return reply.code(problem.status).send(problem.body);
}

function asProblem(error: FastifyError | PageProblem): PageProblem {
  if (error instanceof PageProblem) return error;
  const cause = { cause: error };
  const { statusCode = 500, message } = error;
  if (statusCode >= 400 && statusCode < 500) return new PageProblem('invalid-request', message, cause);
  return new PageProblem('internal', 'The worker has a defect: see its log.', cause);
}
