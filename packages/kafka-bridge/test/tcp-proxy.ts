import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/**
 * A TCP proxy on loopback whose link can fail: `cut()` breaks all connections and refuses new ones, `blackhole()` keeps
 * them open and loses everything, `loseAnswers()` loses what comes back. `restore()` breaks what was disturbed, and new
 * connections work. `hide()` makes a topic look as if it did not exist, by asking for another name of its length.
 *
 * A Kafka broker names its own address in its answers, which clients then use: it is replaced by the proxy's.
 */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #mode: 'pass' | 'cut' | 'blackhole' | 'lose-answers' = 'pass';

  /** Connections that were refused while the link was cut. */
  refused = 0;
  #hidden: { name: Buffer; other: Buffer } | undefined;

  private constructor(target: { host: string; port: number }) {
    this.#server = createServer((near) => {
      if (this.#mode === 'cut') {
        this.refused++;
        near.destroy();
        return;
      }
      const far = connect(target);
      this.#link(near, far, (chunk) =>
        this.#mode === 'pass' || this.#mode === 'lose-answers' ? this.#hiding(chunk, 'name', 'other') : undefined,
      );
      this.#link(far, near, (chunk) =>
        this.#mode === 'pass' ? this.#hiding(this.#renamed(chunk, target.port), 'other', 'name') : undefined,
      );
    });
  }

  static async to(target: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(target.includes('://') ? target : `tcp://${target}`);
    const proxy = new TcpProxy({ host: hostname, port: Number(port) });
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#mode = 'cut';
    this.#breakAll();
  }

  blackhole(): void {
    this.#mode = 'blackhole';
  }

  loseAnswers(): void {
    this.#mode = 'lose-answers';
  }

  hide(topic: string): void {
    this.#hidden = { name: Buffer.from(topic), other: Buffer.from('x'.repeat(topic.length)) };
  }

  restore(): void {
    this.#mode = 'pass';
    this.#hidden = undefined;
    this.#breakAll();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #breakAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #hiding(chunk: Buffer, from: 'name' | 'other', to: 'name' | 'other'): Buffer {
    const hidden = this.#hidden;
    if (hidden === undefined) return chunk;
    for (let at = chunk.indexOf(hidden[from]); at >= 0; at = chunk.indexOf(hidden[from], at + 1)) {
      hidden[to].copy(chunk, at);
    }
    return chunk;
  }

  /** Kafka writes an address as the host's text and the port in four bytes. */
  #renamed(chunk: Buffer, targetPort: number): Buffer {
    const port = Buffer.alloc(4);
    port.writeInt32BE(targetPort);
    for (const host of ['127.0.0.1', 'localhost']) {
      const address = Buffer.concat([Buffer.from(host), port]);
      for (let at = chunk.indexOf(address); at >= 0; at = chunk.indexOf(address, at + address.length)) {
        chunk.writeInt32BE((this.#server.address() as AddressInfo).port, at + host.length);
      }
    }
    return chunk;
  }

  #link(from: Socket, to: Socket, through: (chunk: Buffer) => Buffer | undefined): void {
    this.#sockets.add(from);
    from.on('data', (chunk: Buffer) => {
      const passed = through(chunk);
      if (passed !== undefined) to.write(passed);
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
