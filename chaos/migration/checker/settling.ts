import { JournalReader } from '../services/journal.js';
import type { Evidence } from './check.js';
import { readPublications } from './check.js';
import { Column, outcomes } from './publications.js';

/** Whether every group has applied everything that was acknowledged, once nothing more is published. */
export class Settling {
  private constructor(
    private readonly acknowledged: number,
    private readonly isAcknowledged: Column<Uint8Array>,
    private readonly groups: { applied: Column<Uint8Array>; count: number; readers: JournalReader[] }[],
  ) {}

  static async begin(
    evidence: Pick<Evidence, 'rules' | 'begunAt' | 'producers' | 'java' | 'groups'>,
  ): Promise<Settling> {
    const publications = await readPublications(evidence);
    const groups = Object.values(evidence.groups).map((files) => ({
      applied: new Column((length) => new Uint8Array(length)),
      count: 0,
      readers: files.map((file) => new JournalReader(file)),
    }));
    return new Settling(publications.counts.acknowledged, publications.outcomes, groups);
  }

  /** How many are missing, over all groups, by what they have written down until now. */
  missing(): number {
    for (const group of this.groups) {
      for (const reader of group.readers) {
        for (let entry = reader.next(); entry !== undefined; entry = reader.next()) {
          if (this.isAcknowledged.get(entry) !== outcomes.acknowledged || group.applied.get(entry) > 0) continue;
          group.applied.set(entry, 1);
          group.count++;
        }
      }
    }
    return this.groups.reduce((sum, { count }) => sum + this.acknowledged - count, 0);
  }

  close(): void {
    for (const { readers } of this.groups) for (const reader of readers) reader.close();
  }
}
