import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/**
 * A TCP proxy on loopback that can be cut: `cut()` breaks all connections and refuses new ones, `stall()` keeps them
 * open and passes nothing on, `restore()` ends both.
 */
export class TcpProxy {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #mode: 'pass' | 'cut' | 'stall' = 'pass';

  private constructor(target: { host: string; port: number }) {
    this.#server = createServer((near) => {
      if (this.#mode === 'cut') {
        near.destroy();
        return;
      }
      const far = connect(target);
      const pair: [Socket, Socket] = [near, far];
      this.#pairs.add(pair);
      for (const [from, to] of [pair, [far, near] as const]) {
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          to.destroy();
          this.#pairs.delete(pair);
        });
        if (this.#mode === 'stall') from.unpipe(to);
      }
    });
  }

  static async to(target: string): Promise<TcpProxy> {
    const [host = '127.0.0.1', port = ''] = target.split(':');
    const proxy = new TcpProxy({ host, port: Number(port) });
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  cut(): void {
    this.#mode = 'cut';
    for (const [near, far] of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  stall(): void {
    this.#mode = 'stall';
    for (const [near, far] of this.#pairs) {
      near.unpipe(far);
      far.unpipe(near);
    }
  }

  restore(): void {
    const stalled = this.#mode === 'stall';
    this.#mode = 'pass';
    if (!stalled) return;
    for (const [near, far] of this.#pairs) {
      near.pipe(far);
      far.pipe(near);
    }
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
