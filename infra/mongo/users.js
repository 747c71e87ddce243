// Users with the rights of each daemon, for a MongoDB with access control. Not tried against a real MongoDB yet.
//
//   mongosh "mongodb://admin@db.example/orders?authSource=admin&tls=true" infra/mongo/users.js
//
// It acts on the database that the URL names, asks for the password of each user that is new, and may run again: then it
// brings the rights of the roles up to date and leaves passwords alone. The users log in by SCRAM-SHA-256; each daemon
// gets a file with its URL, as in ORDERS_MONGO__URI_FILE:
//
//   mongodb://edge:PASSWORD@db.example/orders?authSource=orders&authMechanism=SCRAM-SHA-256&tls=true&tlsCAFile=ca.pem
//
// FerretDB 2 has users but no rights: there, every user may do everything.

const READ = ["find"];
const WRITE = ["find", "insert", "update"];

// What the code does with each collection. Nobody may drop a collection or the database, and only the operator removes
// documents.
const RIGHTS = {
  edge: {
    orders_installation: READ,
    orders_read: READ,
    orders_write: READ, // single orders, whole
  },
  writer: {
    orders_installation: WRITE, // which streams have been told of every order
    orders_read: READ,
    orders_write: [...WRITE, "listIndexes"],
  },
  projector: {
    orders_checkpoints: WRITE,
    orders_installation: READ,
    orders_read: [...WRITE, "listIndexes"],
  },
  migrator: {
    "": ["listCollections"],
    orders_checkpoints: [...WRITE, "createCollection"],
    orders_installation: [...WRITE, "createCollection"],
    orders_read: [...WRITE, "createCollection", "createIndex", "listIndexes", "collMod"],
    orders_write: ["find", "createCollection", "createIndex", "listIndexes", "collMod"],
  },
  operator: {
    "": ["listCollections"],
    orders_checkpoints: [...WRITE, "remove"],
    orders_installation: READ,
    orders_keys: WRITE, // the key with which the audit hashes who was erased
    orders_read: [...WRITE, "remove", "listIndexes", "collStats"],
    orders_write: ["find", "update", "remove", "listIndexes", "collStats"], // changes it only to erase personal data
  },
};

for (const [name, collections] of Object.entries(RIGHTS)) {
  const role = `orders-${name}`;
  const privileges = Object.entries(collections).map(([collection, actions]) => ({
    resource: { db: db.getName(), collection },
    actions,
  }));
  if (db.getRole(role)) {
    db.updateRole(role, { privileges, roles: [] });
  } else {
    db.createRole({ role, privileges, roles: [] });
  }
  if (db.getUser(name)) {
    db.updateUser(name, { roles: [role] });
    print(`${name}: rights are up to date`);
  } else {
    print(`${name}: is new; its password?`);
    db.createUser({ user: name, pwd: passwordPrompt(), roles: [role], mechanisms: ["SCRAM-SHA-256"] });
  }
}
