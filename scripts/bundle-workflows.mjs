// Bundles the workflow code at build time, so that a worker starts at once and runs exactly what was tested.
// Skipped when nothing that goes into the bundle has changed since the last one.
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
const workflows = path.join(root, 'dist/src/workflows');
const bundlePath = path.join(root, 'dist/workflow-bundle.js');
const stampPath = path.join(root, 'dist/workflow-bundle.sha256');

const stamp = await fingerprint();
if ((await readIfThere(stampPath)) !== stamp || (await readIfThere(bundlePath)) === undefined) {
  const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: path.join(workflows, 'index.js'),
    logger: new DefaultLogger('WARN'),
  });
  await writeFile(bundlePath, code);
  await writeFile(stampPath, stamp);
}

async function fingerprint() {
  const hash = createHash('sha256');
  const { version } = createRequire(import.meta.url)('@temporalio/workflow/package.json');
  hash.update(version);
  const names = await readdir(workflows, { recursive: true });
  for (const name of names.filter((file) => file.endsWith('.js')).sort()) {
    hash.update(name).update(await readFile(path.join(workflows, name)));
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
