import { PublishBufferFullError } from './publisher-errors.js';
import { Fifo } from './fifo.js';

interface Waiter {
  bytes: number;
  enter: () => void;
  timer: NodeJS.Timeout;
  gone: boolean;
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

  /** Calls `enter` in its turn, with the room taken, or `refuse` when there was none in time, or never can be. */
  await(bytes: number, enter: () => void, refuse: (error: PublishBufferFullError) => void): void {
    if (bytes > this.#maxBytes) {
      refuse(new PublishBufferFullError(`a message of ${bytes} bytes can never fit into ${this.#maxBytes}.`));
      return;
    }
    const timer = setTimeout(() => {
      waiter.gone = true;
      refuse(new PublishBufferFullError(`no room within ${this.#timeoutMs} ms.`));
      this.#admit();
    }, this.#timeoutMs);
    const waiter: Waiter = { bytes, enter, timer, gone: false };
    this.#waiting.push(waiter);
  }

  release(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
    if (this.#waiting.length > 0) this.#admit();
  }

  #admit(): void {
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if (!next.gone && !this.#fits(next.bytes)) return;
      this.#waiting.shift();
      if (next.gone) continue;
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
