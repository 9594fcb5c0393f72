import { defaultPayloadConverter } from '@temporalio/common';
import type { WorkflowInterceptorsFactory } from '@temporalio/workflow';

/** Header of a step: the phase in which it was asked for, in the clear, as the search attribute has it. */
export const PHASE_HEADER = 'migration-phase';

/** Of this run: the sandbox gives each run modules of its own. */
let currentPhase: () => string | undefined = () => undefined;

/** Tells every step of this run, from now on, in which phase it was asked for. */
export function tellPhase(phase: () => string): void {
  currentPhase = phase;
}

/** Temporal asks a bundle's interceptor modules for this name. A replay looks at no header: a history without it goes on. */
export const interceptors: WorkflowInterceptorsFactory = () => ({
  outbound: [
    {
      scheduleActivity: (input, next) => {
        const phase = currentPhase();
        if (phase === undefined) return next(input);
        const header = { [PHASE_HEADER]: defaultPayloadConverter.toPayload(phase) };
        return next({ ...input, headers: { ...input.headers, ...header } });
      },
    },
  ],
});
