import { DefaultLogger, Runtime, type RuntimeOptions } from '@temporalio/worker';

/** Temporal's runtime, once a process: what it logs below errors would drown a program's or a test's own output. */
export function installQuietRuntime(options: Pick<RuntimeOptions, 'shutdownSignals'> = {}): void {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
    ...options,
  });
}
