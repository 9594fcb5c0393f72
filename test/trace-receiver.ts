import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { z } from 'zod';

/** Attributes and events too, for whoever searches them. */
const spanSchema = z.looseObject({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
});
const requestSchema = z.object({
  resourceSpans: z.array(z.object({ scopeSpans: z.array(z.object({ spans: z.array(spanSchema) })) })),
});

/** Takes traces as OpenTelemetry's exporters send them, as JSON over HTTP. */
export class TraceReceiver {
  readonly spans: z.output<typeof spanSchema>[] = [];

  private constructor(private readonly server: Server) {}

  static async open(): Promise<TraceReceiver> {
    const server = createServer((request, answer) => {
      json(request).then(
        (body) => {
          const { resourceSpans } = requestSchema.parse(body);
          for (const { scopeSpans } of resourceSpans) receiver.spans.push(...scopeSpans.flatMap(({ spans }) => spans));
          answer.setHeader('content-type', 'application/json').end('{}');
        },
        (error: unknown) => answer.writeHead(400).end(String(error)),
      );
    });
    const receiver = new TraceReceiver(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
