import { JournalReader, type Entry } from '../services/journal.js';

/** All entries of some journals in the order of time; each journal is in that order by itself. */
export function* merged(files: readonly string[]): Generator<Entry> {
  const readers = files.map((file) => new JournalReader(file));
  try {
    const heads = readers.map((reader) => reader.next());
    for (;;) {
      let first: Entry | undefined;
      let from = 0;
      for (const [index, head] of heads.entries()) {
        if (head === undefined || (first !== undefined && head.at >= first.at)) continue;
        first = head;
        from = index;
      }
      if (first === undefined) return;
      heads[from] = readers[from]?.next();
      yield first;
    }
  } finally {
    for (const reader of readers) reader.close();
  }
}
