/**
 * Reads a JSON pointer (RFC 6901) into its tokens.
 *
 * @throws {TypeError} when it is none.
 */
export function parsePointer(pointer: string): string[] {
  if (pointer !== '' && !pointer.startsWith('/')) {
    throw new TypeError(`"${pointer}" is not a JSON pointer: it must be empty or begin with "/".`);
  }
  if (/~(?![01])/.test(pointer)) {
    throw new TypeError(`"${pointer}" is not a JSON pointer: write "~0" for "~" and "~1" for "/".`);
  }
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** The pointer of a part of what another pointer names. */
export function childPointer(pointer: string, token: string): string {
  return `${pointer}/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}
