import type { ServerPlan } from './server-plan.js';

/** Toxiproxy's server with its HTTP API; the proxies themselves are made through that. */
export function toxiproxyPlan(program: string, folder: string): ServerPlan<'api'> {
  return {
    id: 'toxiproxy',
    title: 'Toxiproxy',
    folder,
    preferredPorts: { api: 8474 },
    fingerprint: '',
    readyWithinMs: 20_000,
    graceMs: 2_000,
    command: ({ api }) =>
      Promise.resolve({ file: program, args: ['-host', '127.0.0.1', '-port', String(api)], cwd: folder }),
    probe: async ({ api }) => {
      const answer = await fetch(`http://127.0.0.1:${api}/version`, { signal: AbortSignal.timeout(5_000) });
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`/version answered ${answer.status}`);
    },
  };
}
