import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { PairwiseCompare } from '@owlmq/kafka-bridge/operations';

/** The module that is to compare outputs cannot be used. */
export class CompareModuleError extends Error {
  override readonly name = 'CompareModuleError';
}

/**
 * Loads an ES module whose function `compare(live, shadow, { group, topic, id })` says whether two captured outputs that
 * differ mean the same. Where it throws, or answers with anything but `true`, they do not.
 *
 * @param onError told of the first time that it throws.
 * @throws {CompareModuleError} when there is no such module, or it exports no such function.
 */
export async function loadCompareModule(file: string, onError: (error: unknown) => void): Promise<PairwiseCompare> {
  const url = pathToFileURL(path.resolve(file)).href;
  let loaded: { compare?: unknown };
  try {
    loaded = (await import(url)) as { compare?: unknown };
  } catch (error) {
    throw new CompareModuleError(
      `COMPARE_MODULE: ${file} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  if (typeof loaded.compare !== 'function') {
    throw new CompareModuleError(`COMPARE_MODULE: ${file} does not export a function \`compare\`.`);
  }
  const compare = loaded.compare as (...given: Parameters<PairwiseCompare>) => unknown;
  let told = false;
  return (live, shadow, { group, topic, id }) => {
    try {
      return compare(live, shadow, { group, topic, id }) === true;
    } catch (error) {
      if (!told) onError(error);
      told = true;
      return false;
    }
  };
}
