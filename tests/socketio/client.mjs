// An unmodified socket.io-client for the system tests: prints every event as a line of JSON, obeys lines of JSON.
// Besides the client's own options: `version` 2, `msgpack` for that parser, `authAfter` for an `auth` that takes so many ms,
// `follow` to come back with the last offset, `again` to connect again so many ms after a refusal.
// usage: node client.mjs URL OPTIONS_JSON
import { createInterface } from 'node:readline';

const { version, msgpack, authAfter, follow, again, ...options } = JSON.parse(process.argv[3]);
const client = await import(version === 2 ? 'socket.io-client-2' : 'socket.io-client');
if (msgpack) options.parser = (await import('socket.io-msgpack-parser')).default;
if (authAfter) {
  const { auth } = options;
  options.auth = (send) => setTimeout(() => send(auth), authAfter);
}
const socket = (client.io ?? client.default)(process.argv[2], options);
const print = (event, ...args) => process.stdout.write(JSON.stringify({ event, args }) + '\n');

socket.onAny?.(print);
if (follow) socket.onAny((event, ...args) => { options.auth.serverOffset = args.at(-1)?.offset ?? options.auth.serverOffset; });
socket.on('connect', () => print('connect', { transport: socket.io.engine.transport.name }));
socket.on('connect_error', (error) => {
  print('connect_error', { message: error.message, data: error.data });
  // A refused client does not come back by itself.
  if (again && !socket.active) setTimeout(() => socket.connect(), again);
});
socket.on('error', (error) => print('error', error));
socket.on('disconnect', (reason) => print('disconnect', reason));

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  switch (command.do) {
    case 'disconnect': socket.disconnect(); break;
    case 'connect': Object.assign(socket.auth, command.auth); socket.connect(); break;
    case 'auth': Object.assign(socket.auth, command.auth); break;
    case 'emit': socket.emit(...command.args); break;
    case 'ask': socket.emit(...command.args, (...args) => print('ack', ...args)); break;
  }
});
process.stdin.on('end', () => process.exit(0));
