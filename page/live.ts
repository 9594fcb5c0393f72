import type { LiveView, RateSample } from '@owlmq/kafka-bridge/live-view';
import { apiPath, isLoggedIn } from './api.js';

export interface LiveListener {
  /** What was seen so far, when the stream begins anew. */
  samples(samples: RateSample[]): void;
  view(view: LiveView): void;
  /** In words; empty while all is well. */
  trouble(what: string): void;
}

const RETRY_MS = 3_000;

/** Follows a migration, over breaks of the connection; comes back when the login is over. */
export async function followMigration(migration: string, listener: LiveListener): Promise<void> {
  for (;;) {
    await streamToItsEnd(migration, listener);
    listener.trouble('not connected: trying again');
    // The stream does not say why it was refused.
    const answer = await fetch(apiPath(migration)).catch(() => undefined);
    if (answer?.status === 401 && !(await isLoggedIn().catch(() => true))) return;
    if (answer !== undefined && !answer.ok) {
      // A proxy before the worker answers in its own way while that is away.
      const problem = (await answer.json().catch(() => undefined)) as { detail?: string } | undefined;
      listener.trouble(problem?.detail ?? `HTTP ${answer.status}: trying again`);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function streamToItsEnd(migration: string, listener: LiveListener): Promise<void> {
  const source = new EventSource(`${apiPath(migration)}/events`);
  source.addEventListener('samples', (event: MessageEvent<string>) => {
    listener.samples(JSON.parse(event.data) as RateSample[]);
  });
  source.addEventListener('view', (event: MessageEvent<string>) => {
    listener.trouble('');
    listener.view(JSON.parse(event.data) as LiveView);
  });
  await new Promise<void>((resolve) => {
    source.addEventListener('error', () => {
      source.close();
      resolve();
    });
  });
}
