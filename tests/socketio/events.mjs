// Follows with an EventSource, as browsers do. Each event goes to stdout as a line of JSON.
// usage: node --experimental-eventsource events.mjs URL
const source = new EventSource(process.argv[2]);
for (const name of ['open', 'error', 'order.created', 'order.updated', 'feed.reset']) {
  source.addEventListener(name, ({ data, lastEventId }) => {
    console.log(JSON.stringify({ name, data: data && JSON.parse(data), id: lastEventId }));
  });
}
// While the source waits before it comes back, it does not keep node alive.
setInterval(() => {}, 60_000);
