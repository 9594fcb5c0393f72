import type { OwlmqApi, OwlmqRecord, PublishResult } from '../../src/owlmq/owlmq-api.js';
import { OwlmqUnreachableError } from '../../src/owlmq/owlmq-errors.js';
import { HEADER } from '../../src/message/headers.js';
import { broker, PARTITIONS, type Stored } from './kafka.js';
import { world } from './world.js';

/** An OwlMQ that is slow, refuses some entries, answers late or never, and stores an id once. */
export class SimOwlmq {
  readonly partitions: Stored[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly #places = new Map<string, { partition: number; offset: number }>();
  down = false;
  /** Share of entries that are refused for now. */
  refusals = 0;

  /** As a member sees it. */
  of(member: string): OwlmqApi {
    const publish: OwlmqApi['publish'] = (_topic, records, options) => {
      const leftAt = world().now;
      broker().leavesForOwlmq(member);
      return new Promise((resolve, reject) => {
        let open = true;
        const end = (work: () => void): void => {
          if (!open) return;
          open = false;
          options?.signal?.removeEventListener('abort', abort);
          clearTimeout(timer);
          work();
        };
        const unreachable = (why: string) => () => {
          reject(new OwlmqUnreachableError(why, 'timeout', {}));
        };
        const abort = (): void => {
          end(unreachable('ended'));
        };
        const timer = setTimeout(() => {
          end(unreachable('no answer'));
        }, options?.timeoutMs ?? 5_000);
        options?.signal?.addEventListener('abort', abort);
        world().later(undefined, world().between(0, 12), () => {
          if (!open || this.down || world().chance() < 0.04) return;
          const results = this.#store(member, records, leftAt);
          if (world().chance() < 0.04) return;
          world().later(member, world().between(0, 12), () => {
            if (!this.down) {
              end(() => {
                resolve(results);
              });
            }
          });
        });
      });
    };
    return new Proxy({} as OwlmqApi, {
      get: (_, name) => {
        if (name !== 'publish') throw new Error(`The simulated OwlMQ has no ${String(name)}.`);
        return publish;
      },
    });
  }

  /** As the contract has it, the later entries of a refused one's key are refused too. */
  #store(member: string, records: readonly OwlmqRecord[], leftAt: number): PublishResult[] {
    const refused = new Set<string>();
    return records.map((record): PublishResult => {
      const key = record.key?.toString() ?? '';
      if (world().chance() < this.refusals) refused.add(key);
      if (refused.has(key)) return { ok: false, type: 'unavailable', detail: 'Not now', retriable: true };
      const before = this.#places.get(record.id);
      if (before !== undefined) return { ok: true, duplicate: true, ...before };
      const log = this.partitions[record.partition] ?? [];
      const place = { partition: record.partition, offset: log.length };
      const epoch = Number(record.headers.find(([name]) => name === HEADER.epoch)?.[1].toString());
      log.push({ id: record.id, key, value: record.value?.toString() ?? '', epoch, member, leftAt });
      this.#places.set(record.id, place);
      return { ok: true, duplicate: false, ...place };
    });
  }
}
