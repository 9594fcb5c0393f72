/** What can be done to one direction of a link; see toxiproxy's documentation of toxics. */
export interface Toxic {
  type: 'latency' | 'bandwidth' | 'timeout' | 'reset_peer' | 'limit_data';
  /** `upstream`: what the client sends. `downstream`: what it is answered. */
  stream: 'upstream' | 'downstream';
  attributes: Readonly<Record<string, number>>;
}

/** Toxiproxy did not do what it was asked for over its HTTP API. */
class ToxiproxyError extends Error {
  override readonly name = 'ToxiproxyError';
}

const TIMEOUT_MS = 10_000;
/**
 * Taking a toxic away waits up to five seconds for each piece of data that the toxic holds and a dead end does not take:
 * of a process that was killed meanwhile there are some (RemoveToxic in link.go of toxiproxy 2.12).
 */
const REMOVE_TIMEOUT_MS = 180_000;

/** A running toxiproxy, over its HTTP API. */
export class Toxiproxy {
  readonly #url: string;

  constructor(apiPort: number) {
    this.#url = `http://127.0.0.1:${apiPort}`;
  }

  /** Makes a proxy on loopback. */
  async link(name: string, ports: { listen: number; upstream: number }): Promise<Link> {
    const [listen, upstream] = [ports.listen, ports.upstream].map((port) => `127.0.0.1:${port}`);
    await this.#call('POST', '/proxies', { name, listen, upstream, enabled: true });
    return new Link(name, ports.listen, (method, path, body) => this.#call(method, `/proxies/${name}${path}`, body));
  }

  async #call(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<void> {
    const answer = await fetch(`${this.#url}${path}`, {
      method,
      signal: AbortSignal.timeout(method === 'DELETE' ? REMOVE_TIMEOUT_MS : TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new ToxiproxyError(`${method} ${path} answered ${answer.status}: ${text}`);
  }
}

type Call = (method: 'POST' | 'DELETE', path: string, body?: unknown) => Promise<void>;

/** The way of one process to one leg. Without toxics everything passes. */
export class Link {
  readonly name: string;
  /** Where the process connects to. */
  readonly port: number;
  readonly #call: Call;

  constructor(name: string, port: number, call: Call) {
    this.name = name;
    this.port = port;
    this.#call = call;
  }

  /** Applies toxics for as long as the work takes. */
  async during(toxics: readonly Toxic[], work: () => Promise<void>): Promise<void> {
    const added: string[] = [];
    try {
      for (const [index, { type, stream, attributes }] of toxics.entries()) {
        const name = `${type}-${stream}-${index}`;
        await this.#call('POST', '/toxics', { name, type, stream, attributes });
        added.push(name);
      }
      await work();
    } finally {
      for (const name of added) await this.#call('DELETE', `/toxics/${name}`);
    }
  }

  /** Breaks all connections and refuses new ones for as long as the work takes. */
  async down(work: () => Promise<void>): Promise<void> {
    await this.#call('POST', '', { enabled: false });
    try {
      await work();
    } finally {
      await this.#call('POST', '', { enabled: true });
    }
  }
}

/** The ways of one process to both legs. */
export interface Links {
  kafka: Link;
  owlmq: Link;
}
