import { bundleWorkflowCode, DefaultLogger, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { fileURLToPath } from 'node:url';

/** Bundles the workflows from their sources, so that a test never runs what an old build left. */
export async function bundleWorkflowSources(interceptorModules: string[] = []): Promise<WorkflowBundleWithSourceMap> {
  return await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../../src/workflows/index.ts', import.meta.url)),
    workflowInterceptorModules: [
      fileURLToPath(new URL('../../src/workflows/phase-header.ts', import.meta.url)),
      ...interceptorModules,
    ],
    logger: new DefaultLogger('ERROR'),
    // Sources name their siblings by the compiled file, as Node wants them.
    webpackConfigHook: (config) => ({
      ...config,
      resolve: { ...config.resolve, extensionAlias: { '.js': ['.ts', '.js'] } },
    }),
  });
}
