import { ApplicationFailure } from '@temporalio/workflow';
import { InvalidInputError } from '@owlmq/kafka-bridge/playbook';

/** The input as it is meant; one that is not valid fails the run, with every problem at once. */
export function validInput<T>(parse: (input: unknown) => T, input: unknown): T {
  try {
    return parse(input);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    // Anything but an ApplicationFailure would be retried for ever.
    throw ApplicationFailure.nonRetryable(error.message, 'InvalidInput', error.problems);
  }
}
