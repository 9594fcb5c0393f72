/** Something found before the start. `input` findings are cured by other input, `state` ones by acting on a system. */
export interface Finding {
  kind: 'input' | 'state' | 'warning';
  what: string;
  todo: string;
}

/** What a migration is to do, as far as it can be looked at before. */
export interface PreflightRequest {
  migration: string;
  topics: string[];
  groups: string[];
  /** Topics whose foreign records the bridge will copy. */
  forward: string[];
  /** Whether noise will be measured. */
  noise?: boolean;
  /** How long Kafka must keep records for the playbook to be able to go back, ms. */
  retentionNeededMs: number;
}
