import { CancellationScope, sleep } from '@temporalio/workflow';

/** Ends work by a cancellation when a time is over: `CancellationScope.withTimeout`, whose timer has no summary. */
export async function within<T>(durationMs: number, summary: string, work: () => Promise<T>): Promise<T> {
  const scope = new CancellationScope();
  return await scope.run(async () => {
    const clock = new CancellationScope();
    const over = clock
      .run(() => sleep(durationMs, { summary }))
      .then(
        () => {
          scope.cancel();
        },
        // The work, or what is around it, has ended first.
        () => undefined,
      );
    try {
      return await work();
    } finally {
      if (!clock.consideredCancelled) clock.cancel();
      await over;
    }
  });
}
