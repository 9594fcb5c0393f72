export { migrateKafkaToOwlmq } from './playbook.js';
