/**
 * Why a handler's signal was aborted. `stopping`: the consumer stops, and the time for what is in hand is over.
 * `lease-lost`: the routing state may be outdated. `revoked`: the member lost its partitions, or may have.
 */
export class HandlerInterruptedError extends Error {
  override readonly name = 'HandlerInterruptedError';
  readonly code = 'handler-interrupted';
  constructor(
    readonly reason: 'stopping' | 'lease-lost' | 'revoked',
    options?: ErrorOptions,
  ) {
    super(`The handler was interrupted (${reason}): its message is handled again.`, options);
  }
}
