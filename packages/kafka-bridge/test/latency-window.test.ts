import { describe, expect, it } from 'vitest';
import { LatencyWindow } from '../src/publisher/latency-window.js';

describe('LatencyWindow', () => {
  it('tells quantiles to within a tenth', () => {
    const window = new LatencyWindow();
    expect(window.quantile(0.99)).toBe(0);
    for (let ms = 1; ms <= 1_000; ms++) window.add(ms);
    for (const share of [0.5, 0.99, 1]) {
      expect(window.quantile(share)).toBeGreaterThanOrEqual(share * 1_000 - 0.1);
      expect(window.quantile(share)).toBeLessThanOrEqual(share * 1_000 * 1.1);
    }
    window.add(1e9);
    expect(window.quantile(1)).toBeGreaterThan(90_000);
  });

  it('forgets what is older than a minute, little by little', () => {
    let now = 1_000_000;
    const window = new LatencyWindow(() => now);
    window.add(5_000);
    now += 30_000;
    for (let n = 0; n < 10; n++) window.add(10);
    now += 19_000;
    expect(window.quantile(1)).toBeGreaterThan(5_000);
    now += 11_000;
    expect(window.quantile(1)).toBeLessThan(12);
    expect(window.quantile(1)).toBeGreaterThanOrEqual(10);
    now += 3_600_000;
    expect(window.quantile(1)).toBe(0);
  });
});
