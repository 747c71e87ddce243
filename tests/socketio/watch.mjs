// Unmodified socket.io-clients that watch one tenant each and come back by offset, for as long as the process lives.
// Every event is a line of JSON: {client, event, args}. A line on stdin ends it.
// usage: node watch.mjs '[{"url": ..., "tenant": ...}, ...]'
import { io } from 'socket.io-client';

const write = (line) => process.stdout.write(JSON.stringify(line) + '\n');

JSON.parse(process.argv[2]).forEach(({ url, tenant }, client) => {
  let serverOffset;
  const socket = io(url, {
    path: '/ws',
    transports: ['websocket'],
    forceNew: true,
    reconnectionDelay: 200,
    reconnectionDelayMax: 1000,
    auth: (answer) => answer({ tenantId: tenant, serverOffset }),
  });
  socket.onAny((event, ...args) => {
    serverOffset = args.at(-1)?.offset ?? serverOffset;
    write({ client, event, args });
  });
  socket.on('disconnect', (reason) => write({ client, event: 'disconnect', args: [reason] }));
});
process.stdin.on('data', () => process.exit(0));
process.stdin.on('end', () => process.exit(0));
