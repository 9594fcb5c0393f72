import { CancellationScope } from '@temporalio/workflow';

/**
 * Runs tasks side by side. When one fails the others are cancelled and waited for, as their cancellation type has
 * it (an attempt that is not waited for may go on until its next heartbeat); then its error is thrown.
 */
export async function together<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const scope = new CancellationScope();
  return await scope.run(async () => {
    const running = tasks.map((task) => task());
    try {
      return await Promise.all(running);
    } catch (error) {
      scope.cancel();
      await Promise.allSettled(running);
      throw error;
    }
  });
}
