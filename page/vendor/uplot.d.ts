// The worker serves the module of the package at this path.
export { default } from 'uplot';
