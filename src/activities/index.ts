import { auditActivities } from './audit.js';
import { canaryActivities } from './canary.js';
import type { Dependencies } from './dependencies.js';
import { fleetActivities } from './fleet.js';
import { fleetWatchActivities } from './fleet-watch.js';
import { hookActivities } from './hooks.js';
import type { MigrationActivities } from './migration-activities.js';
import { offsetActivities } from './offsets.js';
import { preflightActivities } from './preflight.js';
import { readinessActivities } from './readiness.js';
import { routingActivities } from './routing.js';
import { watchActivities } from './watch.js';
import { wayBackActivities } from './way-back.js';

/** Every step of a migration, on the connections of this worker. */
export function createActivities(dependencies: Dependencies): MigrationActivities {
  return {
    ...preflightActivities(dependencies),
    ...readinessActivities(dependencies),
    ...routingActivities(dependencies),
    ...fleetActivities(dependencies),
    ...fleetWatchActivities(dependencies),
    ...auditActivities(dependencies),
    ...watchActivities(dependencies),
    ...offsetActivities(dependencies),
    ...canaryActivities(dependencies),
    ...wayBackActivities(dependencies),
    ...hookActivities(dependencies),
  };
}
