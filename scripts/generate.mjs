// Everything that is generated and committed. With --check nothing is written, and what is stale fails.
import './generate-contract-types.mjs';
import './generate-input-schema.mjs';
