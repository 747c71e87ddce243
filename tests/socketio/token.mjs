// A client that always has a fresh token, as the documents show it: prints `connected`, `refreshed`, and each order.
// usage: node token.mjs URL TOKEN_URL TENANT
import { io } from 'socket.io-client';

const [url, tokenUrl, tenantId] = process.argv.slice(2);
const freshToken = async () => (await fetch(tokenUrl)).text();

let offset; // of the last event: with it a client that comes back misses nothing
const auth = async (send) => send({ tenantId, serverOffset: offset, token: await freshToken() });
const socket = io(url, { path: '/ws', auth });
socket.onAny((event, ...args) => { offset = args.at(-1)?.offset ?? offset; });
socket.on('auth.expiring', async () => {
  socket.emit('auth.refresh', { token: await freshToken() }, ({ ok }) => ok && console.log('refreshed'));
});
// A refused client does not come back by itself.
socket.on('connect_error', () => {
  if (!socket.active) setTimeout(() => socket.connect(), 500 + Math.random() * 500);
});

socket.on('connected', () => console.log('connected'));
socket.on('order.created', ({ orderId }) => console.log(orderId));
