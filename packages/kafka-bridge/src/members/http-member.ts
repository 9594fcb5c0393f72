/** So that a member of the library, whose name has none of it, is never taken for one that reports over HTTP. */
const SUFFIX = '@http';

/** The name under which the members topic has an instance that reports over HTTP. */
export function httpMember(instance: string): string {
  return `${instance}${SUFFIX}`;
}

/** Whether a member has reported over HTTP. */
export function isHttpMember(member: string): boolean {
  return member.endsWith(SUFFIX);
}
