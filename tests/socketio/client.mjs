// An unmodified socket.io-client for the system tests: prints every event as a line of JSON, obeys lines of JSON.
// usage: node client.mjs URL OPTIONS_JSON
import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';

const [url, options] = process.argv.slice(2);
const socket = io(url, JSON.parse(options));
const print = (event, ...args) => process.stdout.write(JSON.stringify({ event, args }) + '\n');

socket.onAny(print);
socket.on('connect', () => print('connect', { transport: socket.io.engine.transport.name }));
socket.on('connect_error', (error) => print('connect_error', { message: error.message, data: error.data }));
socket.on('disconnect', (reason) => print('disconnect', reason));

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  switch (command.do) {
    case 'disconnect': socket.disconnect(); break;
    case 'connect': Object.assign(socket.auth, command.auth); socket.connect(); break;
    case 'auth': Object.assign(socket.auth, command.auth); break;
    case 'emit': socket.emit(...command.args); break;
  }
});
process.stdin.on('end', () => process.exit(0));
