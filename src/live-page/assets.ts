import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';

/** The root of the checkout: this module runs as built, in dist/src/live-page. */
const root = path.join(import.meta.dirname, '..', '..', '..');
const sources = path.join(root, 'page');
const built = path.join(root, 'dist', 'page');
const uplot = path.dirname(createRequire(import.meta.url).resolve('uplot'));

const SCRIPT = 'text/javascript; charset=utf-8';
const STYLE = 'text/css; charset=utf-8';

/** Everything that a browser is given, by the path at which it asks for it. */
const files: Record<string, { file: string; type: string }> = {
  '/assets/page.css': { file: path.join(sources, 'page.css'), type: STYLE },
  '/assets/icon.svg': { file: path.join(sources, 'icon.svg'), type: 'image/svg+xml' },
  '/assets/vendor/uplot.css': { file: path.join(uplot, 'uPlot.min.css'), type: STYLE },
  '/assets/vendor/uplot.js': { file: path.join(uplot, 'uPlot.esm.js'), type: SCRIPT },
  ...Object.fromEntries(
    ['main', 'api', 'ask', 'chart', 'dom', 'list-page', 'live', 'login', 'migration-page', 'sections', 'words'].map(
      (name) => [`/assets/${name}.js`, { file: path.join(built, `${name}.js`), type: SCRIPT }],
    ),
  ),
};

/** Serves the page, which is the same for everybody and holds nothing of a migration. Its files are read once. */
export async function serveAssets(app: FastifyInstance): Promise<void> {
  const page = await readFile(path.join(sources, 'index.html'), 'utf8');
  for (const url of ['/', '/migrations/:migration']) {
    app.get(url, async (_request, reply) => await reply.type('text/html; charset=utf-8').send(page));
  }
  await Promise.all(
    Object.entries(files).map(async ([url, { file, type }]) => {
      const content = await readFile(file, 'utf8');
      app.get(url, async (_request, reply) => await reply.type(type).send(content));
    }),
  );
}
