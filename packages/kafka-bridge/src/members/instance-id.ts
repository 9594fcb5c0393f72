import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/** A name for this instance that no other process start has: `HOST-PID-RANDOM`. */
export function newInstanceId(): string {
  return `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
}
