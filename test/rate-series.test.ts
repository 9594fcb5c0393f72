import { expect, it } from 'vitest';
import { RateSeries } from '../src/live-page/rate-series.js';

it('tells how fast legs grow between looks, breaks where nobody looked, and keeps an hour', () => {
  const series = new RateSeries();
  expect(series.add({ atMs: 0, kafka: 100, owlmq: 0 })).toBeNull();
  expect(series.add({ atMs: 2_000, kafka: 220, owlmq: 61 })).toEqual({ atMs: 2_000, kafka: 60, owlmq: 30.5 });
  // OwlMQ does not answer; then its topic was made anew.
  expect(series.add({ atMs: 4_000, kafka: 220, owlmq: null })).toEqual({ atMs: 4_000, kafka: 0, owlmq: null });
  expect(series.add({ atMs: 6_000, kafka: 220, owlmq: 61 })).toMatchObject({ owlmq: null });
  expect(series.add({ atMs: 8_000, kafka: 220, owlmq: 3 })).toMatchObject({ kafka: 0, owlmq: null });
  // A mean over minutes is no rate of now.
  expect(series.add({ atMs: 108_000, kafka: 1_220, owlmq: 3 })).toBeNull();
  expect(series.samples.at(-1)).toEqual({ atMs: 8_001, kafka: null, owlmq: null });
  for (let look = 1; look <= 2_000; look++) series.add({ atMs: 108_000 + look * 2_000, kafka: 1_220, owlmq: 3 });
  expect(series.samples).toHaveLength(1_800);
});
