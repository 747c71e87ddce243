// Signs webhooks with the libraries that senders use. Each one is {way, secret, id, at, body}; prints their headers.
// usage: node sign.mjs WEBHOOKS_JSON
const sign = {
  async standard({ secret, id, at, body }) {
    const { Webhook } = await import('standardwebhooks');
    return {
      'webhook-id': id,
      'webhook-timestamp': String(at),
      'webhook-signature': new Webhook(secret).sign(id, new Date(at * 1000), body),
    };
  },
  async stripe({ secret, at, body }) {
    const { default: Stripe } = await import('stripe');
    const header = { payload: body, secret, timestamp: at };
    return { 'stripe-signature': await Stripe.webhooks.generateTestHeaderStringAsync(header) };
  },
};

const webhooks = JSON.parse(process.argv[2]);
const headers = await Promise.all(webhooks.map((webhook) => sign[webhook.way](webhook)));
process.stdout.write(JSON.stringify(headers));
