// Bundles the workflow code at build time, so that a worker starts at once and runs exactly what was tested.
// Skipped when nothing that goes into the bundle has changed since the last one.
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
/** All that the project itself puts into a bundle. */
const sources = [
  path.join(root, 'dist/src/workflows'),
  path.join(root, 'dist/src/codec'),
  path.join(root, 'packages/kafka-bridge/dist/playbook'),
];
/** Where failures have a converter of their own, which workflow code takes with it, there is a bundle of its own. */
const bundles = [
  { file: path.join(root, 'dist/workflow-bundle.js'), options: {} },
  {
    file: path.join(root, 'dist/workflow-bundle-encrypted.js'),
    options: { failureConverterPath: path.join(root, 'dist/src/codec/failure-converter.js') },
  },
];
const stampPath = path.join(root, 'dist/workflow-bundle.sha256');

const stamp = await fingerprint();
const present = await Promise.all(bundles.map(({ file }) => readIfThere(file)));
if ((await readIfThere(stampPath)) !== stamp || present.includes(undefined)) {
  const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker');
  // Compiled by now, as all that goes into the bundle is.
  const { workflowsPath, workflowInterceptorModules } = await import('../dist/src/workflow-bundle-path.js');
  for (const { file, options } of bundles) {
    const { code } = await bundleWorkflowCode({
      workflowsPath,
      workflowInterceptorModules,
      logger: new DefaultLogger('WARN'),
      ...options,
    });
    await writeFile(file, code);
  }
  await writeFile(stampPath, stamp);
}

async function fingerprint() {
  const hash = createHash('sha256');
  const { version } = createRequire(import.meta.url)('@temporalio/workflow/package.json');
  hash.update(version);
  for (const folder of sources) {
    const names = await readdir(folder, { recursive: true });
    for (const name of names.filter((file) => file.endsWith('.js')).sort()) {
      hash.update(name).update(await readFile(path.join(folder, name)));
    }
  }
  return hash.digest('hex');
}

async function readIfThere(file) {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}
