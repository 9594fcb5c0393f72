/**
 * Which names are meant by patterns: names as they are, and globs, where `*` stands for any text and `?` for one
 * character.
 *
 * @returns the names meant, each once and in their order, and the patterns that mean none.
 */
export function matchGroups(
  patterns: readonly string[],
  names: readonly string[],
): { matched: string[]; unmatched: string[] } {
  const matchers = patterns.map((pattern) => ({ pattern, matches: matcher(pattern) }));
  return {
    matched: [...new Set(names)].filter((name) => matchers.some(({ matches }) => matches(name))),
    unmatched: matchers.filter(({ matches }) => !names.some(matches)).map(({ pattern }) => pattern),
  };
}

function matcher(pattern: string): (name: string) => boolean {
  const text = pattern
    .replace(/\*+/g, '*')
    .split(/([*?])/u)
    .map((part) => (part === '*' ? '.*' : part === '?' ? '.' : part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')))
    .join('');
  // A name that holds such characters is matched by itself, too.
  const glob = new RegExp(`^${text}$`, 'su');
  return (name) => glob.test(name);
}
