import { DefaultFailureConverter } from '@temporalio/common';

/** Puts messages and stack traces of failures where the codec encrypts them. For workers and bundles with keys alone. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
