/** When hooks are called, in the order of the playbook; the last two on the way back and at the end. */
export const HOOK_EVENTS = [
  'before-cutover',
  'hold-publishers',
  'stop-consumers',
  'resume-on-owlmq',
  'resume-on-kafka',
  'stop-kafka-writes',
] as const;
export type HookEvent = (typeof HOOK_EVENTS)[number];
