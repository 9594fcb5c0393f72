export { migrateKafkaToOwlmq } from './playbook.js';
export { migratePortfolio } from './portfolio/migrate-portfolio.js';
