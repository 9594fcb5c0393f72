import { describe, expect, it } from 'vitest';
import { check, outstanding } from '../../demo/checker.js';
import type { Applied, Produced } from '../../demo/event-log.js';

const topic = 'orders.created';

/** A log of publishes and of what one group applied, in the order of the calls. */
class Story {
  readonly produced: Produced[] = [];
  readonly applied: Applied[] = [];
  #at = 0;

  publish(key: string, number: number, outcome: 'acknowledged' | 'failed' | 'unknown' | 'never written'): this {
    const message = { topic, key, number };
    this.produced.push({ event: 'sent', ...message, digest: `${key}${number}`, at: ++this.#at });
    if (outcome !== 'never written') {
      this.produced.push({ event: 'settled', ...message, outcome, tookMs: number, at: ++this.#at });
    }
    return this;
  }

  apply(key: string, number: number, change: Partial<Applied> = {}): this {
    const place = { leg: 'kafka' as const, member: 'one', id: `id-${key}-${number}`, at: ++this.#at };
    this.applied.push({ topic, key, number, digest: `${key}${number}`, ...place, ...change });
    return this;
  }

  get result() {
    return check(this.produced, new Map([['group', this.applied]]));
  }

  get group() {
    const { group } = this.result.groups;
    if (group === undefined) throw new Error('no result for the group');
    return group;
  }
}

const clean = { lost: 0, duplicated: 0, onBothLegs: 0, reordered: 0, invented: 0, altered: 0 };

/** Two keys, all of it applied, the last two on OwlMQ. */
function cleanStory(): Story {
  return new Story()
    .publish('a', 1, 'acknowledged')
    .publish('b', 1, 'acknowledged')
    .publish('a', 2, 'acknowledged')
    .apply('b', 1)
    .apply('a', 1)
    .apply('a', 2, { leg: 'owlmq' })
    .publish('b', 2, 'acknowledged')
    .apply('b', 2, { leg: 'owlmq' });
}

describe('checker', () => {
  it('finds nothing wrong with a clean run, and counts it', () => {
    const story = cleanStory();
    expect(story.group).toEqual({ ...clean, applied: 4, onKafka: 2, onOwlmq: 2, legSwitches: 1 });
    expect(story.result.published).toEqual({ acknowledged: 4, failed: 0, unknown: 0 });
    expect(story.result.latency.longest).toBe(2);
    expect(story.result.samples).toEqual([]);
    expect(outstanding(story.produced, story.applied)).toBe(0);
  });

  it('finds a lost message', () => {
    const story = cleanStory().publish('c', 1, 'acknowledged');
    expect(story.group).toMatchObject({ ...clean, lost: 1 });
    expect(story.result.samples).toMatchObject([{ kind: 'lost', message: `${topic}/c/1` }]);
    expect(outstanding(story.produced, story.applied)).toBe(1);
  });

  it('judges each group by itself', () => {
    const { produced, applied } = cleanStory();
    const { groups } = check(
      produced,
      new Map([
        ['all', applied],
        ['none', []],
      ]),
    );
    expect(groups).toMatchObject({ all: { lost: 0 }, none: { lost: 4, applied: 0 } });
  });

  it('finds a message applied twice, under another id and by another member too', () => {
    const story = cleanStory().apply('a', 2, { id: 'another', member: 'two', leg: 'kafka' });
    expect(story.group).toMatchObject({ ...clean, duplicated: 1, onBothLegs: 1, applied: 4, legSwitches: 2 });
  });

  it('finds a message applied behind a later one of its key, whatever order the logs were read in', () => {
    const late = new Story()
      .publish('a', 1, 'acknowledged')
      .publish('a', 2, 'acknowledged')
      .apply('a', 2)
      .apply('a', 1);
    expect(late.group).toMatchObject({ ...clean, reordered: 1 });
    const story = cleanStory();
    story.applied.reverse();
    expect(story.group).toMatchObject(clean);
  });

  it('does not take a gap, or a redelivery, for another order', () => {
    const story = new Story()
      .publish('a', 1, 'acknowledged')
      .publish('a', 2, 'failed')
      .publish('a', 3, 'acknowledged')
      .apply('a', 1)
      .apply('a', 3)
      .apply('a', 1);
    expect(story.group).toMatchObject({ ...clean, duplicated: 1 });
  });

  it('finds what nobody published, and what the publisher said had failed', () => {
    expect(cleanStory().apply('z', 1).group).toMatchObject({ ...clean, invented: 1 });
    expect(cleanStory().publish('c', 1, 'failed').apply('c', 1).group).toMatchObject({ ...clean, invented: 1 });
  });

  it('finds a message whose content has changed', () => {
    const story = new Story().publish('a', 1, 'acknowledged').apply('a', 1, { digest: 'other' });
    expect(story.group).toMatchObject({ ...clean, altered: 1 });
  });

  it.each(['unknown', 'never written'] as const)('lets a message whose outcome is %s appear or not', (outcome) => {
    const absent = cleanStory().publish('c', 1, outcome);
    expect(absent.group).toMatchObject(clean);
    expect(absent.result.published.unknown).toBe(1);
    expect(outstanding(absent.produced, absent.applied)).toBe(0);
    expect(cleanStory().publish('c', 1, outcome).apply('c', 1).group).toMatchObject(clean);
  });

  it('keeps a few samples of each kind and counts them all', () => {
    const story = new Story();
    for (let number = 1; number <= 50; number++) story.publish('a', number, 'acknowledged');
    expect(story.group.lost).toBe(50);
    expect(story.result.samples.length).toBeLessThan(10);
  });
});
