/** Figures of publishers and consumers in a registry of prom-client, which the service installs and serves itself. */
export { BridgeMetrics } from './bridge-metrics.js';
