import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What the server measures, for `/metrics`. */
export class Metrics {
  readonly #registry = new Registry();
  readonly requests = new Histogram({
    name: 'owlmq_http_request_duration_seconds',
    help: 'Time from the head of a request to the end of its answer; long polls included.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 40],
    registers: [this.#registry],
  });
  readonly flushes = new Histogram({
    name: 'owlmq_store_flush_duration_seconds',
    help: 'Time of a transaction, until it is on disk.',
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
    registers: [this.#registry],
  });
  readonly entries = new Counter({
    name: 'owlmq_publish_entries_total',
    help: 'Entries of publish requests by outcome: written, duplicate, rejected.',
    labelNames: ['topic', 'outcome'],
    registers: [this.#registry],
  });
  readonly publishedBytes = new Counter({
    name: 'owlmq_publish_bytes_total',
    help: 'Bytes of publish request bodies.',
    labelNames: ['topic'],
    registers: [this.#registry],
  });

  /**
   * @param gauges read at each scrape, by name and help.
   * @param process whether to measure the process as well; only for a server that has it to itself.
   */
  constructor(gauges: { name: string; help: string; read: () => number }[], process: boolean) {
    for (const { name, help, read } of gauges) {
      new Gauge({
        name,
        help,
        registers: [this.#registry],
        collect() {
          this.set(read());
        },
      });
    }
    if (process) collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
