import type { FastifyRequest } from 'fastify';

/** How large the body of a request may become: what it says, or else what its route takes. */
export function bodyBytes({ headers, routeOptions }: FastifyRequest): number {
  const most = routeOptions.bodyLimit;
  if (headers['transfer-encoding'] !== undefined) return most;
  // One that is too large anyway is answered as that.
  return Math.min(Number(headers['content-length'] ?? 0), most);
}
