import type { RateSample } from '@owlmq/kafka-bridge/live-view';
import { el, fill, table } from './dom.js';
import uPlot from './vendor/uplot.js';
import { clock, count } from './words.js';

/** As the worker keeps them. */
const MOST_SAMPLES = 1_800;
const HEIGHT_PX = 220;
/** Shown as a table to those who do not see the chart. */
const ROWS = 12;

/** Throughput of both legs over time, as a chart, in words, and as a table. */
export class RateChart {
  readonly element: HTMLElement;
  readonly #canvas = el('div', { class: 'chart', role: 'img' });
  readonly #words = el('p', { class: 'legend' });
  readonly #table = el('div');
  #samples: RateSample[] = [];
  #plot: uPlot | undefined;

  constructor() {
    this.element = el(
      'div',
      {},
      this.#words,
      this.#canvas,
      el('details', {}, el('summary', {}, 'The last figures as a table'), this.#table),
    );
    new ResizeObserver(() => {
      this.#plot?.setSize({ width: this.#canvas.clientWidth, height: HEIGHT_PX });
    }).observe(this.#canvas);
    // The colours of a canvas do not follow by themselves.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#plot?.destroy();
      this.#plot = undefined;
      this.#draw();
    });
  }

  replace(samples: readonly RateSample[]): void {
    this.#samples = [...samples];
    this.#draw();
  }

  add(sample: RateSample): void {
    if (this.#samples.at(-1)?.atMs === sample.atMs) return;
    this.#samples = [...this.#samples, sample].slice(-MOST_SAMPLES);
    this.#draw();
  }

  #draw(): void {
    const known = this.#samples.filter(({ kafka, owlmq }) => kafka !== null || owlmq !== null);
    const last = known.at(-1);
    fill(
      this.#words,
      el('span', { class: 'key kafka' }, `Kafka ${count(last?.kafka)}/s`),
      ' ',
      el('span', { class: 'key owlmq' }, `OwlMQ ${count(last?.owlmq)}/s`),
      ' ',
      el('span', {}, parityWords(last)),
    );
    const seconds = known.length === 0 ? 0 : Math.round(((last?.atMs ?? 0) - (known[0]?.atMs ?? 0)) / 1_000);
    this.#canvas.setAttribute(
      'aria-label',
      `Records a second on both legs, ${seconds} seconds to now. The table below has the figures.`,
    );
    this.#canvas.dataset['samples'] = String(known.length);
    fill(
      this.#table,
      table(
        'Records a second on each leg',
        ['Time', 'Kafka', 'OwlMQ'],
        known
          .slice(-ROWS)
          .reverse()
          .map(({ atMs, kafka, owlmq }) => [clock(atMs), count(kafka), count(owlmq)]),
      ),
    );
    const data: uPlot.AlignedData = [
      this.#samples.map(({ atMs }) => atMs / 1_000),
      this.#samples.map(({ kafka }) => kafka),
      this.#samples.map(({ owlmq }) => owlmq),
    ];
    if (this.#plot === undefined) this.#plot = new uPlot(this.#options(), data, this.#canvas);
    else this.#plot.setData(data);
  }

  #options(): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const clockAxis = {
      space: 90,
      values: (_plot: uPlot, splits: number[]) => splits.map((second) => clock(second * 1_000)),
    };
    const axis = { stroke: colour('--faint'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    return {
      ...{ width: this.#canvas.clientWidth, height: HEIGHT_PX, legend: { show: false }, cursor: { show: false } },
      scales: { y: { range: (_plot, _from, to) => [0, Math.max(1, to * 1.1)] } },
      axes: [
        { ...axis, ...clockAxis },
        { ...axis, size: 48 },
      ],
      series: [
        {},
        { label: 'Kafka', stroke: colour('--kafka'), width: 2 },
        // Both are the same for the most part of a migration: one is seen through the other.
        { label: 'OwlMQ', stroke: colour('--owlmq'), width: 2, dash: [6, 4] },
      ],
    };
  }
}

/** How much of what Kafka gets OwlMQ gets. */
function parityWords(sample: RateSample | undefined): string {
  if (sample === undefined || sample.kafka === null || sample.owlmq === null || sample.kafka === 0) return '';
  return `OwlMQ gets ${Math.round((sample.owlmq / sample.kafka) * 100)}% of Kafka's rate`;
}
