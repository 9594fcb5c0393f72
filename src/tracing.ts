import { diag, DiagLogLevel } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { detectResourcesSync, envDetectorSync, Resource } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry';
import type { Logger } from 'pino';

/** What a worker tells OpenTelemetry of workflows and activities. */
export interface Tracing {
  /** For the worker: it needs the workflow code to be bundled with it. */
  plugin: OpenTelemetryPlugin;
  /** Sends what has not been sent yet. */
  close(): Promise<void>;
}

/**
 * Traces, by OTLP over HTTP, where the environment names a receiver as OpenTelemetry has it:
 * OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. The exporter reads them, and its headers, by itself.
 *
 * @param logger told of what is wrong with the settings, and of what could not be sent: it is dropped.
 * @returns undefined where it names none.
 */
export function startTracing(environment: NodeJS.ProcessEnv, logger: Logger): Tracing | undefined {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: all, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces } = environment;
  if ([all, traces].every((endpoint) => endpoint === undefined || endpoint === '')) return undefined;
  const tell =
    (level: 'error' | 'warn' | 'debug') =>
    (message: string): void => {
      logger[level]({ component: 'traces' }, message);
    };
  diag.setLogger(
    { error: tell('error'), warn: tell('warn'), info: tell('debug'), debug: tell('debug'), verbose: tell('debug') },
    DiagLogLevel.WARN,
  );
  const { attributes } = detectResourcesSync({ detectors: [envDetectorSync] });
  const resource = new Resource({ 'service.name': 'kafka-to-owlmq-worker', ...attributes });
  const spanProcessor = new BatchSpanProcessor(new OTLPTraceExporter());
  const provider = new BasicTracerProvider({ resource, spanProcessors: [spanProcessor] });
  // For the whole process: the interceptors find tracer, context and propagator there.
  provider.register({ contextManager: new AsyncLocalStorageContextManager().enable() });
  return {
    plugin: new OpenTelemetryPlugin({ resource, spanProcessor }),
    close: () => provider.shutdown(),
  };
}
