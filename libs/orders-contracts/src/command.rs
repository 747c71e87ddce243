use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::{
    Currency, Invalid, Money, OrderId, RequestId, TenantId,
    input::{Fields, Node, Texts, read_object},
    upload::{Attachment, read_attachment},
};

/// The most lines one order can have.
pub const MAX_ITEMS: usize = 1_000;

/// The texts that [`Node::string`] accepts, for the schemas: no control characters. Patterns keep to what ECMAScript with
/// and without `u`, Python and Java have in common.
pub(crate) const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
const MAX_QTY: u64 = 1_000_000;
/// What a client may note of an order.
const METADATA: Texts = Texts {
    most: 50,
    name: 40,
    value: 500,
};

/// The command "create an order": the body of `POST /api/orders` and of `orders.cmd.{tenant}.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct CreateOrder {
    /// The client's idempotency key: the same one makes no second order.
    pub request_id: RequestId,
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// Who buys.
    pub buyer: Buyer,
    /// What is bought: 1 to 1,000 lines.
    #[schemars(length(min = 1, max = 1000))]
    pub items: Vec<Item>,
    /// A file that was uploaded before, by its storage key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// What the client notes of the order, for itself: at most 50 names of 1 to 40 characters, with texts of at most 500.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "metadata_schema")]
    pub metadata: BTreeMap<String, String>,
    /// The currency of all amounts, one that ISO 4217 lists. It is only a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "currency_schema")]
    pub currency: Option<Currency>,
}

/// A new order has a currency of the list, unlike those that are read.
fn currency_schema(_: &mut SchemaGenerator) -> Schema {
    let codes: Vec<_> = Currency::listed().map(|code| code.to_string()).collect();
    json_schema!({ "anyOf": [{ "type": "string", "enum": codes }, { "type": "null" }] })
}

fn metadata_schema(_: &mut SchemaGenerator) -> Schema {
    let Texts { most, name, value } = METADATA;
    json_schema!({
        "type": ["object", "null"],
        "maxProperties": most,
        "propertyNames": { "minLength": 1, "maxLength": name, "pattern": PRINTABLE },
        "additionalProperties": { "type": "string", "maxLength": value, "pattern": PRINTABLE },
    })
}

/// Who buys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Buyer {
    /// The buyer's e-mail address, at most 254 characters; lists are filtered by it.
    #[schemars(email, length(max = 254))]
    pub email: String,
    /// The buyer's name, 1 to 200 characters.
    #[schemars(length(min = 1, max = 200), regex(pattern = PRINTABLE))]
    pub name: String,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Item {
    /// The article, 1 to 100 characters.
    #[schemars(length(min = 1, max = 100), regex(pattern = PRINTABLE))]
    pub sku: String,
    /// How many, 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub qty: u32,
    /// The price of one, with at most 6 decimals and 15 significant digits. The total of all lines has at most 15, too.
    #[schemars(extend("maximum" = 999_999_999_999_u64))]
    pub price: Money,
}

/// Where the body of a create command comes from.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// From a client, with its idempotency key and the tenant that it acts for, if it has them.
    Client(Option<&'a RequestId>, Option<&'a TenantId>),
    /// From an edge, perhaps of an earlier version with fewer rules. To refuse an order now would lose it, because its
    /// client was told that it is stored.
    Edge,
}

impl Source<'_> {
    fn is_new(self) -> bool {
        matches!(self, Self::Client(..))
    }
}

impl CreateOrder {
    /// Reads and checks the body of a request. A missing `requestId` is taken from `idempotency_key`; both and different
    /// is refused. A missing `tenantId` is `tenant`, if the client acts for one alone.
    pub fn parse(
        body: &[u8],
        idempotency_key: Option<&RequestId>,
        tenant: Option<&TenantId>,
    ) -> Result<Self, Invalid> {
        Self::from(body, Source::Client(idempotency_key, tenant))
    }

    /// Reads and checks the body of a command, which an edge has accepted.
    pub fn read(body: &[u8]) -> Result<Self, Invalid> {
        Self::from(body, Source::Edge)
    }

    fn from(body: &[u8], source: Source<'_>) -> Result<Self, Invalid> {
        read_object(body, |fields| {
            let request_id = read_request_id(fields, source);
            let tenant = match source {
                Source::Client(_, tenant) => tenant,
                Source::Edge => None,
            };
            let tenant_id = read_tenant(fields, tenant);
            let buyer = fields.take("buyer").object(|buyer| {
                let email = buyer.take("email").email();
                let name = buyer.take("name").string(200);
                Some(Buyer {
                    email: email?,
                    name: name?,
                })
            });
            let items = read_items(&fields.take("items"), source);
            let attachment = fields.take("attachment");
            let attachment = if attachment.is_absent() {
                Some(None)
            } else {
                read_attachment(&attachment, source.is_new()).map(Some)
            };
            let metadata = fields.take("metadata").texts(METADATA);
            let currency = read_currency(&fields.take("currency"), source);
            Some(Self {
                request_id: request_id?,
                tenant_id: tenant_id?,
                buyer: buyer?,
                items: items?,
                attachment: attachment?,
                metadata: metadata?,
                currency: currency?,
            })
        })
    }

    /// The id of the order this command creates.
    pub fn order_id(&self) -> OrderId {
        OrderId::derive(&self.tenant_id, &self.request_id)
    }

    /// The exact sum of quantity times price.
    pub fn total(&self) -> Money {
        total(&self.items)
    }
}

fn total(items: &[Item]) -> Money {
    items
        .iter()
        .try_fold(Money::ZERO, |sum, item| {
            sum.plus(item.price.times(item.qty)?)
        })
        .expect("1,000 lines of the largest quantity and price stay below 28 digits")
}

/// The command "cancel an order": the body of `orders.cmd.{tenant}.cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct CancelOrder {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// Which order.
    pub order_id: OrderId,
}

impl CancelOrder {
    /// Reads and checks the body of the command.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        read_object(body, |fields| {
            let tenant_id = fields.take("tenantId").id();
            let order_id = fields.take("orderId").id();
            Some(Self {
                tenant_id: tenant_id?,
                order_id: order_id?,
            })
        })
    }

    /// Reads the body of the HTTP request, which has the order's id in its path: `{tenantId}`. A missing one is `tenant`.
    pub fn parse_tenant(body: &[u8], tenant: Option<&TenantId>) -> Result<TenantId, Invalid> {
        read_object(body, |fields| read_tenant(fields, tenant))
    }
}

/// Reads `tenantId`, which is `tenant` if it is missing.
pub(crate) fn read_tenant(fields: &mut Fields<'_>, tenant: Option<&TenantId>) -> Option<TenantId> {
    let node = fields.take("tenantId");
    match tenant {
        Some(tenant) if node.is_absent() => Some(tenant.clone()),
        _ => node.id(),
    }
}

fn read_request_id(fields: &mut Fields<'_>, source: Source<'_>) -> Option<RequestId> {
    let node = fields.take("requestId");
    match source {
        Source::Client(Some(key), _) if node.is_absent() => Some(key.clone()),
        Source::Client(Some(key), _) => node.id().filter(|id| id == key).or_else(|| {
            node.refuse("must be the same as the Idempotency-Key header when both are given")
        }),
        Source::Client(None, _) | Source::Edge => node.id(),
    }
}

fn read_items(node: &Node<'_>, source: Source<'_>) -> Option<Vec<Item>> {
    let items = node.array(1..=MAX_ITEMS, |item| read_item(&item, source))?;
    if source.is_new() && !total(&items).fits_a_double() {
        let rule = "must add up to at most 15 significant digits, the most that a JSON number holds exactly";
        return node.refuse(rule);
    }
    Some(items)
}

fn read_item(node: &Node<'_>, source: Source<'_>) -> Option<Item> {
    node.object(|item| {
        let sku = item.take("sku").string(100);
        let qty = item.take("qty").integer(1..=MAX_QTY);
        let number = item.take("price");
        let price = number.price().and_then(|price| {
            if source.is_new() && !price.fits_a_double() {
                let rule = "must not have more than 15 significant digits, the most that a JSON number holds exactly";
                return number.refuse(rule);
            }
            Some(price)
        });
        Some(Item {
            sku: sku?,
            qty: u32::try_from(qty?).ok()?,
            price: price?,
        })
    })
}

/// Reads a currency, which may be missing. That it is listed is a rule for new orders only: the list changes.
fn read_currency(node: &Node<'_>, source: Source<'_>) -> Option<Option<Currency>> {
    if node.is_absent() {
        return Some(None);
    }
    let currency: Currency = node.id()?;
    if source.is_new() && !currency.is_listed() {
        return node.refuse(Currency::RULE);
    }
    Some(Some(currency))
}

#[cfg(test)]
mod tests;
