/** What a migration of a portfolio is at, as its own run says. */
export interface MigrationStanding {
  /** Workflow id. */
  id: string;
  /**
   * `absent`: no run of this id is known. `failed`: ended in any other way than completed or rolled back.
   * `taken`: the id belongs to another kind of workflow.
   */
  state: 'absent' | 'running' | 'completed' | 'rolled-back' | 'failed' | 'taken';
  /** Phase of the run; absent where it cannot be asked. */
  phase?: string;
  /** Why it needs a person, or why it ended other than completed. */
  why?: string;
}

/** What a portfolio is told before it starts migrations. */
export interface MigrationsFound {
  migrations: MigrationStanding[];
  /** Names of the search attributes that the namespace knows. */
  searchAttributes: string[];
}

/** The steps of a portfolio: it asks its migrations, and touches nothing. */
export interface PortfolioActivities {
  /** Where migrations stand now. */
  findMigrations(request: { ids: string[] }): Promise<MigrationsFound>;
  /** Completes once one of them is at something else than the portfolio knows, or the slice of time is over. */
  watchMigrations(request: { known: MigrationStanding[]; sliceMs: number }): Promise<MigrationStanding[]>;
}
