import { randomInt } from 'node:crypto';
import getPort, { portNumbers } from 'get-port';

/**
 * Systems give outgoing connections ports from 32768 (Linux) or 49152 (macOS, Windows) on. One of those could be taken
 * by a client while the server that it belongs to is down.
 */
const BELOW_OUTGOING = { first: 15_000, last: 32_767 };

/** Tried in a row. */
const TRIES = 200;

/** A port on loopback that stays a server's own while it is restarted. */
export async function freePort(exclude: readonly number[] = []): Promise<number> {
  const first = randomInt(BELOW_OUTGOING.first, BELOW_OUTGOING.last - TRIES);
  return await getPort({ host: '127.0.0.1', exclude, port: portNumbers(first, first + TRIES) });
}
