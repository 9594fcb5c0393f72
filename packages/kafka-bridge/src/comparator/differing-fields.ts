import { z } from 'zod';

export const differingFieldsSchema = z.object({
  /** By JSON pointer: outputs that differ there. */
  fields: z.record(z.string(), z.number()),
  /** Outputs that differ without a field that could be named: they are compared as a whole, or failed differently. */
  unnamed: z.number(),
  /** Differences in fields that are not kept, since others are more frequent or their pointers too long. */
  more: z.number(),
});
/** Where outputs differ, and how often. JSON-safe. */
export type DifferingFields = z.infer<typeof differingFieldsSchema>;

/** The most frequent are kept, as far as those that came early can tell. */
const MAX_FIELDS = 100;
const MAX_POINTER_CHARS = 200;

/** Counts the fields that differ, in bounded memory. */
export class FieldCounts {
  readonly #fields: Map<string, number>;
  #unnamed: number;
  #more: number;

  constructor(saved?: DifferingFields) {
    this.#fields = new Map(Object.entries(saved?.fields ?? {}));
    this.#unnamed = saved?.unnamed ?? 0;
    this.#more = saved?.more ?? 0;
  }

  get counts(): DifferingFields {
    return { fields: Object.fromEntries(this.#fields), unnamed: this.#unnamed, more: this.#more };
  }

  /** @param pointers of what differs between two outputs. */
  add(pointers: readonly string[]): void {
    if (pointers.length === 0) this.#unnamed += 1;
    for (const pointer of pointers) {
      if (pointer.length > MAX_POINTER_CHARS) this.#more += 1;
      else this.#addField(pointer);
    }
  }

  #addField(pointer: string): void {
    const before = this.#fields.get(pointer) ?? 0;
    if (before === 0 && this.#fields.size >= MAX_FIELDS) this.#dropRarest();
    this.#fields.set(pointer, before + 1);
  }

  /** Those that come once make room for each other, and leave alone what comes again and again. */
  #dropRarest(): void {
    const [rarest] = [...this.#fields].sort(([, a], [, b]) => a - b);
    if (rarest === undefined) return;
    this.#fields.delete(rarest[0]);
    this.#more += rarest[1];
  }
}
