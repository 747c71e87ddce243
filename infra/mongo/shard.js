// Shards the orders of a MongoDB cluster. Not tried against a real cluster yet.
//
//   mongosh "mongodb://admin@mongos.example/orders?authSource=admin&tls=true" infra/mongo/shard.js
//
// It acts on the database that the URL names, takes a new one or one with orders, and may run again. `orderctl doctor` then
// tells whether the orders of a tenant are asked of its shards only.
//
// The keys are ranges: requests are unique by tenant and request id, and a unique index must begin with the shard key. A
// busy tenant then lives on many shards. Request ids should be random; if they count upwards, all new orders of a tenant go
// to the same shard.

const KEYS = {
  orders_write: { tenantId: 1, requestId: 1 },
  orders_read: { tenantId: 1, orderId: 1 },
};

if (db.hello().msg !== "isdbgrid") {
  throw new Error("this is no mongos: there is nothing to shard");
}

// As the daemons declare it; orders_write exists from here on.
db.orders_write.createIndex(KEYS.orders_write, { unique: true });

// A sharded collection may have no other unique index. The order's id follows from tenant and request, so this one guards
// nothing that the other does not, and daemons take it as it is.
const byOrder = { tenantId: 1, orderId: 1 };
const found = db.orders_write.getIndexes().find((index) => index.name === "tenantId_1_orderId_1");
if (found?.unique) {
  db.orders_write.dropIndex(found.name);
  print("orders_write: tenantId_1_orderId_1 need not be unique, and is not any more");
}
db.orders_write.createIndex(byOrder);
db.orders_read.createIndex(KEYS.orders_read);

sh.enableSharding(db.getName());
for (const [collection, key] of Object.entries(KEYS)) {
  const name = `${db.getName()}.${collection}`;
  const alive = { _id: name, dropped: { $ne: true }, unsplittable: { $ne: true } };
  const sharded = db.getSiblingDB("config").collections.findOne(alive);
  if (!sharded) {
    sh.shardCollection(name, key, collection === "orders_write");
    print(`${collection}: is sharded by ${JSON.stringify(key)}`);
  } else if (JSON.stringify(sharded.key) === JSON.stringify(key)) {
    print(`${collection}: is sharded as it should be`);
  } else if (JSON.stringify(sharded.key) === '{"tenantId":1}') {
    db.adminCommand({ refineCollectionShardKey: name, key });
    print(`${collection}: its key has become ${JSON.stringify(key)}`);
  } else {
    throw new Error(`${collection} is sharded by ${JSON.stringify(sharded.key)}: run sh.reshardCollection first`);
  }
}

// Where users.js was used, orderctl may see by what the collections are sharded.
if (db.getUser("operator")) {
  db.grantRolesToUser("operator", [{ role: "clusterMonitor", db: "admin" }]);
}
