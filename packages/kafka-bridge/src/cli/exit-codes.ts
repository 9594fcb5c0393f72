/** What every command's exit code means. Scripts depend on it: never give one another meaning. */
export const EXIT = {
  /** Done, and nothing is amiss. */
  ok: 0,
  /** A defect of the command itself. */
  unexpected: 1,
  /** The flags, the environment or a file given are wrong; nothing was begun. */
  input: 2,
  /** Done, but what was found is not as it should be; the output says what. */
  differences: 3,
  /** Not done, because going on would not be safe or is not possible; the message says why. */
  refused: 4,
  /** Kafka or OwlMQ could not be reached, or did not let the command in. */
  unreachable: 5,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The table of exit codes as the help shows it, with what `differences` is for a command. */
export function exitCodesHelp(differences: string): string {
  return `Exit codes:
  0    done
  1    a defect of this command
  2    the flags, the environment or a file are wrong; nothing was begun
  3    ${differences}
  4    refused: not safe, or not possible; nothing was written unless the message says so
  5    Kafka or OwlMQ cannot be reached, or does not let the command in
  130  ended by Ctrl-C`;
}
