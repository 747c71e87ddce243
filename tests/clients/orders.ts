// Creates an order and lists it through the types that openapi-typescript generated; prints the order's id.
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const order: components['schemas']['CreateOrder'] = {
  requestId: 'typescript',
  tenantId: 't-1',
  buyer: { email: 'alice@example.com', name: 'Alice' },
  items: [{ sku: 'SKU-1', qty: 2, price: 49.99 }],
};
const created = await client.POST('/api/orders', { body: order });
if (created.response.status !== 201 || created.data === undefined) {
  throw new Error(JSON.stringify(created.error));
}
const { orderId } = created.data;
const listed = await client.GET('/api/orders', {
  params: { query: { tenantId: 't-1', status: 'PENDING', buyerEmail: 'alice@example.com', from: '2025-08-20' } },
});
const row = listed.data?.items.find((item) => item.orderId === orderId);
if (row?.total !== 99.98) {
  throw new Error(JSON.stringify(listed.error ?? listed.data));
}
console.log(orderId);
