import { DefaultLogger, Runtime } from '@temporalio/worker';

/** Temporal's runtime, once a process: what it logs below errors would drown a test's own output. */
export function installQuietRuntime(): void {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  });
}
