import type { FastifyReply } from 'fastify';

/** Of what a browser has not taken yet: it is given up then. */
const MOST_UNSENT_BYTES = 2 * 1024 * 1024;
const LAST_BYTES_WITHIN_MS = 5_000;

/** Server-sent events to one browser. */
export class EventStream {
  constructor(private readonly reply: FastifyReply) {
    reply.hijack();
    // What the hooks have set, as they would be sent.
    // Of a browser that has gone: `closed` tells of it.
    reply.raw.on('error', () => undefined);
    reply.raw.writeHead(200, { ...reply.getHeaders(), 'content-type': 'text/event-stream' } as Record<string, string>);
  }

  /** Resolves when the browser has gone, or was given up. */
  get closed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.reply.raw.destroyed) resolve();
      else
        this.reply.raw.once('close', () => {
          resolve();
        });
    });
  }

  send(event: string, data: unknown): void {
    const { raw } = this.reply;
    if (raw.writableEnded || raw.destroyed) return;
    if (raw.writableLength > MOST_UNSENT_BYTES) raw.destroy();
    else raw.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** The browser comes again by itself. One that takes no more is given up after some seconds. */
  end(): void {
    const { raw } = this.reply;
    raw.end();
    const giveUp = setTimeout(() => raw.destroy(), LAST_BYTES_WITHIN_MS);
    raw.once('close', () => {
      clearTimeout(giveUp);
    });
  }
}
