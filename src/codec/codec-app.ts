import bearerAuth from '@fastify/bearer-auth';
import cors from '@fastify/cors';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { fastify, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { z } from 'zod';
import { isLoopback } from '../settings.js';
import { PayloadTamperedError, UnknownPayloadKeyError } from './encrypting-codec.js';

/** A page of a history is up to 4 MB, a third more in base64. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
/** Payloads as protobuf's JSON has them. */
const bodySchema = z.object({
  payloads: z.array(
    z.object({ metadata: z.record(z.string(), bytes).default({}), data: bytes.nullable().default(null) }),
  ),
});

export interface CodecAppOptions {
  codec: PayloadCodec;
  /** Origins of pages that may ask, exactly; others are not told. Empty: none. */
  origins: readonly string[];
  /** Any of them lets a caller in; empty: everybody who reaches the port. */
  tokens: readonly string[];
  logger: FastifyBaseLogger;
}

/**
 * The codec over HTTP, as Temporal's UI and CLI ask for it: `POST /encode` and `/decode`.
 *
 * Source: https://docs.temporal.io/production-deployment/data-encryption, "Codec Server".
 */
export async function buildCodecApp({ codec, origins, tokens, logger }: CodecAppOptions): Promise<FastifyInstance> {
  const app = fastify({ loggerInstance: logger, bodyLimit: MAX_BODY_BYTES, requestTimeout: 30_000 });
  await app.register(cors, {
    origin: [...origins],
    methods: ['POST'],
    // What the UI sends along.
    allowedHeaders: ['content-type', 'x-namespace', 'authorization'],
  });
  if (tokens.length > 0) await app.register(bearerAuth, { keys: [...tokens], addHook: 'onRequest' });
  else {
    // A page of elsewhere may have its own name lead to the loopback: it is of another origin to nobody then.
    app.addHook('onRequest', async (request, reply) => {
      const { hostname } = request;
      if (!isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')))
        await reply
          .code(403)
          .send({ error: `this server is not ${hostname}; without a token it is asked as localhost` });
    });
  }
  app.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
    const status = statusOf(error);
    if (status >= 500) logger.error({ err: error }, 'could not be answered');
    // Nothing of a payload is in it.
    const said = error instanceof z.ZodError ? z.prettifyError(error) : error.message;
    return await reply.code(status).send({ error: status >= 500 ? 'internal error' : said });
  });
  const convert = (work: (payloads: Payload[]) => Promise<Payload[]>) => async (request: { body: unknown }) => {
    const { payloads } = bodySchema.parse(request.body);
    const converted = await work(payloads);
    return { payloads: converted.map(inJson) };
  };
  app.post(
    '/encode',
    convert((payloads) => codec.encode(payloads)),
  );
  app.post(
    '/decode',
    convert((payloads) => codec.decode(payloads)),
  );
  return app;
}

function statusOf(error: Error & { statusCode?: number }): number {
  if (error instanceof z.ZodError) return 400;
  if (error instanceof UnknownPayloadKeyError || error instanceof PayloadTamperedError) return 422;
  return error.statusCode ?? 500;
}

function inJson({ metadata, data }: Payload) {
  const entries = Object.entries(metadata ?? {}).map(([name, value]) => [name, base64(value)] as const);
  return { metadata: Object.fromEntries(entries), data: base64(data) };
}

function base64(value: Uint8Array | null | undefined): string {
  return Buffer.from(value ?? []).toString('base64');
}
