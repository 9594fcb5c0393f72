import type { WorkflowInterceptors } from '@temporalio/workflow';

/**
 * Takes heartbeat timeouts off activities. On a skipped clock an hour passes between two heartbeats of a healthy
 * activity, and every watch would count as dead.
 */
export const interceptors = (): WorkflowInterceptors => ({
  outbound: [
    {
      scheduleActivity(input, next) {
        const { heartbeatTimeout, ...options } = input.options;
        return next({ ...input, options });
      },
    },
  ],
});
