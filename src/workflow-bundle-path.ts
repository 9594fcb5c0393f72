import path from 'node:path';

/**
 * The workflow code as `npm run build` has bundled it, see scripts/bundle-workflows.mjs.
 *
 * @param encrypted the one whose failures are put where the codec encrypts them.
 */
export function workflowBundlePath(encrypted: boolean): string {
  return path.join(import.meta.dirname, '..', `workflow-bundle${encrypted ? '-encrypted' : ''}.js`);
}

/** The workflow code as it goes into a bundle. */
export const workflowsPath = path.join(import.meta.dirname, 'workflows', 'index.js');

/** What goes into a bundle with it. */
export const workflowInterceptorModules = [path.join(import.meta.dirname, 'workflows', 'phase-header.js')];
