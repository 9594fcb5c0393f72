import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * What becomes of one request of those that faults are for:
 * - `delayMs`: it is answered late;
 * - `refuse`: it is answered with this status and never reaches OwlMQ;
 * - `answerWith`: OwlMQ carries it out, the answer is this status;
 * - `cut`: OwlMQ carries it out, the connection breaks in the middle of its answer;
 * - `hold`: it never reaches OwlMQ and is never answered.
 */
export type Fault =
  { delayMs: number } | { refuse: number; retryAfterS?: number } | { answerWith: number } | 'cut' | 'hold';

/** A way to an OwlMQ on which publish requests, or others, meet faults that no server makes on demand. */
export class FaultyOwlmq {
  static async to(target: string): Promise<FaultyOwlmq> {
    const faulty = new FaultyOwlmq(target);
    await new Promise<void>((resolve) => faulty.#server.listen(0, '127.0.0.1', resolve));
    return faulty;
  }

  /** The requests that faults are for; all others pass. */
  concerns: (method: string, path: string) => boolean = (method, path) =>
    method === 'POST' && path.endsWith('/records');
  /** Asked for each of them. */
  fault: () => Fault | undefined = () => undefined;
  /** `performance.now()` of each of them. */
  readonly requests: number[] = [];
  readonly #held = new Set<ServerResponse>();
  readonly #server: Server;

  private constructor(target: string) {
    this.#server = createServer((request, response) => {
      this.#serve(target, request, response).catch(() => {
        response.destroy();
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests that are held now. */
  get held(): number {
    return this.#held.size;
  }

  /** Breaks the connections of those that are held. */
  dropHeld(): void {
    for (const response of this.#held) response.destroy();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(target: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bytesOf(request);
    const { method = 'GET', url = '/' } = request;
    const concerned = this.concerns(method, url);
    if (concerned) this.requests.push(performance.now());
    const fault = concerned ? this.fault() : undefined;
    if (fault === 'hold') {
      this.#held.add(response);
      response.once('close', () => this.#held.delete(response));
      return;
    }
    if (typeof fault === 'object' && 'refuse' in fault) {
      const { refuse: status, retryAfterS } = fault;
      answer(response, status, problem(status), retryAfterS === undefined ? {} : { 'retry-after': `${retryAfterS}` });
      return;
    }
    if (typeof fault === 'object' && 'delayMs' in fault) await delay(fault.delayMs);
    const { authorization = '', 'content-type': type = '' } = request.headers;
    const headers = { authorization, ...(type === '' ? {} : { 'content-type': type }) };
    const passed = await fetch(target + url, { method, headers, ...(body.length === 0 ? {} : { body }) });
    const content = Buffer.from(await passed.arrayBuffer());
    if (fault === 'cut') {
      response.writeHead(passed.status, { 'content-length': content.length, 'content-type': 'application/json' });
      response.write(content.subarray(0, content.length / 2), () => response.destroy());
      return;
    }
    if (typeof fault === 'object' && 'answerWith' in fault) {
      answer(response, fault.answerWith, problem(fault.answerWith));
      return;
    }
    answer(response, passed.status, content, Object.fromEntries(passed.headers));
  }
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function problem(status: number): Buffer {
  return Buffer.from(JSON.stringify({ type: 'planted', title: 'Planted', status, detail: 'planted by the test' }));
}

function answer(response: ServerResponse, status: number, body: Buffer, headers: Record<string, string> = {}): void {
  response.writeHead(status, {
    'content-type': status < 400 ? 'application/json' : 'application/problem+json',
    ...headers,
    'content-length': body.length,
  });
  response.end(body);
}
