import type { FastifyRequest } from 'fastify';
import { isLoopback } from '../settings.js';
import { PageProblem } from './page-problem.js';

/**
 * Refuses what does not come to an address of the page, or not from it: a page of elsewhere may have its own name lead
 * to the loopback, or send requests with this one's cookie.
 *
 * @param origin of the proxy before the page, if there is one.
 * @throws {PageProblem} `forbidden`
 */
export function requireSameOrigin(request: FastifyRequest, origin: string | undefined): void {
  const { host = '', origin: from, 'sec-fetch-site': site } = request.headers;
  const proxied = origin !== undefined && host === new URL(origin).host;
  // Where a proxy ends TLS, and perhaps lets people in, nobody goes round it but from this machine.
  const around = origin !== undefined && !isLoopback((request.socket.remoteAddress ?? '').replace('::ffff:', ''));
  if (!proxied && (around || !isLoopback(hostnameOf(host)))) {
    throw new PageProblem(
      'forbidden',
      `This page is not at ${JSON.stringify(host)}: open it as 127.0.0.1 or localhost, or as PAGE_ORIGIN has it.`,
    );
  }
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new PageProblem('forbidden', 'Pages from elsewhere may not ask.');
  }
  if (from !== undefined && from !== (proxied ? origin : `http://${host}`)) {
    throw new PageProblem('forbidden', 'Pages from elsewhere may not ask.');
  }
}

function hostnameOf(host: string): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname.replace(/^\[(.*)\]$/, '$1') : host;
}
