import { PublishBufferFullError } from './publisher-errors.js';
import { Fifo } from './fifo.js';

interface Waiter {
  bytes: number;
  enter: () => void;
  timer: NodeJS.Timeout;
}

/** Bounds messages that are accepted and not yet settled, in count and bytes. Who finds it full waits in line. */
export class MemoryBound {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  readonly #timeoutMs: number;
  readonly #waiting = new Fifo<Waiter>();
  #count = 0;
  #bytes = 0;

  constructor(options: { maxCount: number; maxBytes: number; timeoutMs: number }) {
    this.#maxCount = options.maxCount;
    this.#maxBytes = options.maxBytes;
    this.#timeoutMs = options.timeoutMs;
  }

  get count(): number {
    return this.#count;
  }

  /** Those who wait for room. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes room if there is some now and nobody waits for it; else use {@link await}. */
  take(bytes: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return false;
    this.#add(bytes);
    return true;
  }

  /**
   * Calls `enter` in its turn, with the room taken, or `refuse` when there was none in time, or never can be. Returns a
   * function that leaves the line, so that neither is called.
   */
  await(bytes: number, enter: () => void, refuse: (error: PublishBufferFullError) => void): (() => void) | undefined {
    if (bytes > this.#maxBytes) {
      refuse(new PublishBufferFullError(`a message of ${bytes} bytes can never fit into ${this.#maxBytes}.`, 'no'));
      return undefined;
    }
    const leave = (): void => {
      clearTimeout(timer);
      this.#waiting.remove(waiter);
      // It may have been in the way of a smaller one.
      this.#admit();
    };
    const timer = setTimeout(() => {
      leave();
      refuse(new PublishBufferFullError(`no room within ${this.#timeoutMs} ms.`, 'safe'));
    }, this.#timeoutMs);
    const waiter: Waiter = { bytes, enter, timer };
    this.#waiting.push(waiter);
    return leave;
  }

  release(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
    if (this.#waiting.length > 0) this.#admit();
  }

  #admit(): void {
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if (!this.#fits(next.bytes)) return;
      this.#waiting.shift();
      clearTimeout(next.timer);
      this.#add(next.bytes);
      next.enter();
    }
  }

  #add(bytes: number): void {
    this.#count++;
    this.#bytes += bytes;
  }

  #fits(bytes: number): boolean {
    return this.#count < this.#maxCount && this.#bytes + bytes <= this.#maxBytes;
  }
}
