// Makes kafka:9092 the broker that HOST_KAFKA names, for a command that is to be run as it is written.
import { Socket } from 'node:net';

const [host, port] = (process.env.HOST_KAFKA ?? '').split(':');
const connect = Socket.prototype.connect;

Socket.prototype.connect = function (...args) {
  // `net.connect` hands over its arguments as a list that it has put in order.
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options?.host === 'kafka' && Number(options.port) === 9092) Object.assign(options, { host, port: Number(port) });
  return connect.apply(this, args);
};
