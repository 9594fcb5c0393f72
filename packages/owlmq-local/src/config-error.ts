/** The server was started in a way that cannot work. The message says what to set. */
export class OwlmqLocalConfigError extends Error {
  override readonly name = 'OwlmqLocalConfigError';
}
