import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent } from 'undici';

/** A request as a fault sees it, and may change it. */
export interface Exchange {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  headers: Record<string, string>;
  body: Buffer;
}

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** What a broken server does with a request; `pass` has a sound one answer it. */
export type Fault = (request: Exchange, pass: (request: Exchange) => Promise<Reply>) => Promise<Reply>;

/** Restarts the server behind, and resolves with its new address. */
export type Restart = () => Promise<string>;

const FORWARDED = ['authorization', 'content-type', 'accept'];
/** Asked for by a command that restarts: see `restartCommand`. */
const RESTART_PATH = '/restart';

/** A server that breaks the contract in one way: a sound one with a fault in front of it. */
export class BrokenOwlmq {
  static async to(target: string, fault: Fault, restart?: Restart): Promise<BrokenOwlmq> {
    const broken = new BrokenOwlmq(target, fault, restart);
    await new Promise<void>((resolve) => broken.#server.listen(0, '127.0.0.1', resolve));
    return broken;
  }

  readonly #agent = new Agent({ connections: 64 });
  readonly #server: Server;

  private constructor(
    private target: string,
    fault: Fault,
    restart: Restart | undefined,
  ) {
    this.#server = createServer((request, response) => {
      this.#serve(request, response, fault, restart).catch(() => {
        response.destroy();
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A shell command that restarts what is behind. */
  get restartCommand(): string {
    const ask = `fetch('${this.url}${RESTART_PATH}').then((answer) => process.exit(answer.ok ? 0 : 1))`;
    return `'${process.execPath}' -e "${ask}"`;
  }

  /** From now on nothing answers at its address. */
  stopListening(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await Promise.all([new Promise((resolve) => this.#server.close(resolve)), this.#agent.destroy()]);
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault,
    restart: Restart | undefined,
  ): Promise<void> {
    const { method = 'GET', url = '/' } = request;
    if (url === RESTART_PATH && restart !== undefined) {
      this.target = await restart();
      response.end();
      return;
    }
    const gone = new AbortController();
    response.once('close', () => {
      gone.abort();
    });
    const body = await bytesOf(request);
    const [path = '', query] = url.split('?');
    const headers: Record<string, string> = {};
    for (const name of FORWARDED) if (typeof request.headers[name] === 'string') headers[name] = request.headers[name];
    const exchange = { method, path, query: new URLSearchParams(query), headers, body };
    const reply = await fault(exchange, (passed) => this.#pass(passed, gone.signal));
    response.writeHead(reply.status, { ...reply.headers, 'content-length': reply.body.length });
    response.end(reply.body);
  }

  async #pass({ method, path, query, headers, body }: Exchange, signal: AbortSignal): Promise<Reply> {
    const text = query.toString();
    const answer = await this.#agent.request({
      ...{ origin: this.target, path: text === '' ? path : `${path}?${text}`, headers, signal },
      method: method,
      ...(body.length === 0 ? {} : { body }),
    });
    const kept = Object.entries(answer.headers).filter(
      ([name]) => !/^(connection|keep-alive|date|content-length)$/.test(name),
    );
    return {
      status: answer.statusCode,
      headers: Object.fromEntries(kept.map(([name, value]) => [name, String(value)])),
      body: Buffer.from(await answer.body.arrayBuffer()),
    };
  }
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
