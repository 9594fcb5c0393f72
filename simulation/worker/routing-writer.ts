import { decideWrite, EpochSupersededError, newerState, type RoutingState } from '@owlmq/kafka-bridge/protocol';
import { ApplicationFailure } from '@temporalio/common';
import type { Process } from '../clock/world.js';
import type { Systems } from '../systems/systems.js';

const WRITE_ATTEMPTS = 5;

/** What `RoutingWriter` does, around the production rule by which states are written. */
export class SimulatedRoutingWriter {
  #writing: Promise<unknown> = Promise.resolve();
  #sent = 0;

  constructor(
    readonly systems: Systems,
    readonly process: Process,
  ) {}

  /** Writes a state, and reads back that it stands; one call after the other. */
  async write(state: RoutingState): Promise<void> {
    const writing = this.#writing.then(() => this.#write(state));
    this.#writing = writing.catch(() => undefined);
    await writing;
  }

  async #write(state: RoutingState): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const decision = decideWrite(state, await this.#read(state.migration), {
        over: undefined,
        mayRepair: attempt < WRITE_ATTEMPTS,
      });
      if (decision.do === 'nothing') return;
      if (decision.do === 'refuse') {
        const error = new EpochSupersededError(state, decision.found);
        throw ApplicationFailure.create({
          message: error.message,
          type: 'EpochSuperseded',
          nonRetryable: true,
          details: [decision.found.epoch],
        });
      }
      await this.#send(decision.state);
    }
  }

  async #read(migration: string): Promise<{ standing: RoutingState | undefined; last: RoutingState | undefined }> {
    const { network, kafka, routing } = this.systems;
    const read = await network.ask(this.process, kafka, () => routing.map(({ state }) => state));
    let standing: RoutingState | undefined;
    const own = read.filter((state) => state.migration === migration);
    for (const state of own) standing = newerState(standing, state);
    return { standing, last: own.at(-1) };
  }

  async #send(state: RoutingState): Promise<void> {
    const { network, kafka } = this.systems;
    const name = `${this.process.name}/routing/${++this.#sent}`;
    // A producer that repeats itself is stored once.
    for (let attempt = 1; ; attempt++) {
      try {
        await network.ask(this.process, kafka, () => {
          this.systems.appendRoutingOnce(name, state);
        });
        return;
      } catch (error) {
        if (attempt === 4) throw error;
      }
    }
  }
}
