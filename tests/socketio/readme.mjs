// Runs the script of README.md against another URL. What it logs goes to stdout, and so does each connection.
// usage: node readme.mjs URL < SCRIPT
import { text } from 'node:stream/consumers';
import { io } from 'socket.io-client';

const script = (await text(process.stdin)).replaceAll('http://localhost:3001', process.argv[2]);
const watched = (...args) => io(...args).on('connected', () => console.log('connected'));
new Function('io', script)(watched);
