import type { FastifyInstance } from 'fastify';
import type { GroupRegistry } from '../groups/group-registry.js';
import type { Limits } from '../limits.js';
import type { Metrics } from '../metrics.js';
import type { Notifier } from '../notifier.js';
import type { TopicLog } from '../store/topic-log.js';

/** What the routes work on. */
export interface Context {
  log: TopicLog;
  groups: GroupRegistry;
  notifier: Notifier;
  limits: Limits;
  metrics: Metrics;
}

export type Routes = (app: FastifyInstance, context: Context) => void;
