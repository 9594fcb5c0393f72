import type { AddressInfo } from 'node:net';

/** Where a server listens, for example `http://127.0.0.1:8090`. */
export function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
