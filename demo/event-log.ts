import { closeSync, openSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';

/** ms on the machine's monotonic clock, which all its processes share. */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1_000_000;
}

const message = { topic: z.string(), key: z.string(), number: z.number().int() };

/** What a producer writes down: before each publish, and once it knows what became of it. */
export const producedSchema = z.discriminatedUnion('event', [
  z.strictObject({ event: z.literal('sent'), ...message, digest: z.string(), at: z.number() }),
  z.strictObject({
    event: z.literal('settled'),
    ...message,
    outcome: z.enum(['acknowledged', 'failed', 'unknown']),
    id: z.string().optional(),
    error: z.string().optional(),
    tookMs: z.number(),
    at: z.number(),
  }),
]);
export type Produced = z.infer<typeof producedSchema>;

/** What a consumer writes down as its effect. */
export const appliedSchema = z.strictObject({
  ...message,
  id: z.string(),
  digest: z.string(),
  leg: z.enum(['kafka', 'owlmq']),
  member: z.string(),
  at: z.number(),
});
export type Applied = z.infer<typeof appliedSchema>;

/** Appends JSON lines. A line is with the operating system when `write` returns, so it outlives a killed process. */
export class EventLog<T> {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a', 0o600);
  }

  write(event: T): void {
    writeSync(this.#file, `${JSON.stringify(event)}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Reads what was appended to an event log since the last look. */
export class EventLogReader<T> {
  #file: FileHandle | undefined;
  #offset = 0;
  #torn = Buffer.alloc(0);

  constructor(
    private readonly path: string,
    private readonly schema: z.ZodType<T>,
  ) {}

  /** @throws when a whole line is no event: the log is evidence, and none of it is skipped. */
  async read(): Promise<T[]> {
    this.#file ??= await open(this.path, 'a+');
    const chunks = [this.#torn];
    for (;;) {
      const { buffer, bytesRead } = await this.#file.read(Buffer.alloc(256 * 1024), 0, 256 * 1024, this.#offset);
      if (bytesRead === 0) break;
      this.#offset += bytesRead;
      chunks.push(buffer.subarray(0, bytesRead));
    }
    const bytes = Buffer.concat(chunks);
    const end = bytes.lastIndexOf('\n') + 1;
    this.#torn = bytes.subarray(end);
    const lines = bytes.toString('utf8', 0, end).split('\n').slice(0, -1);
    return lines.map((line) => this.schema.parse(JSON.parse(line)));
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}
