use schemars::JsonSchema;
use serde::Serialize;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::{
    Invalid, Money, OrderId, RequestId, TenantId,
    input::{Fields, Node, read_object},
};

/// The most lines one order can have.
pub const MAX_ITEMS: usize = 1_000;

/// The texts that [`Node::string`] accepts, for the schemas: no control characters. Patterns keep to what ECMAScript with
/// and without `u`, Python and Java have in common.
const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// Printable, and not [deceptive](is_deceptive).
const FILE_NAME: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$";
/// The same, with more than dots after the last folder.
const FILE_PATH: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*[^./\\\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069][^/\\\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$";

const MAX_QTY: u64 = 1_000_000;
/// The largest single PUT of the object stores that presigned URLs usually point at: 5 GiB.
const MAX_UPLOAD_BYTES: u64 = 5 << 30;

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

/// A file that belongs to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Attachment {
    /// The file's name, 1 to 255 characters, none of which changes the direction of the text.
    #[schemars(length(min = 1, max = 255), regex(pattern = FILE_NAME))]
    pub filename: String,
    /// The media type, such as `application/pdf`.
    #[schemars(
        length(max = 255),
        regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$")
    )]
    pub content_type: String,
    /// The size in bytes, at most 5 GiB.
    #[schemars(range(max = 5_368_709_120_u64))]
    pub size: u64,
    /// The key that the presigned upload answered, 1 to 1,024 characters.
    #[schemars(length(min = 1, max = 1024), regex(pattern = PRINTABLE))]
    pub storage_key: String,
}

impl Attachment {
    /// The tenant to whose uploads the storage key leads, if it is like the keys that presigned uploads answer.
    pub fn uploader(&self) -> Option<&str> {
        let key = self.storage_key.strip_prefix("tenants/")?;
        key.split_once('/').map(|(tenant, _)| tenant)
    }
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
                read_attachment(&attachment, source).map(Some)
            };
            Some(Self {
                request_id: request_id?,
                tenant_id: tenant_id?,
                buyer: buyer?,
                items: items?,
                attachment: attachment?,
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

/// What a client says of a file it wants to upload: the body of `POST /api/uploads/presign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PresignUpload {
    /// Whose file it is.
    pub tenant_id: TenantId,
    /// The file's name, 1 to 255 characters, none of which changes the direction of the text; folders before it are
    /// dropped.
    #[schemars(length(min = 1, max = 255), regex(pattern = FILE_PATH))]
    pub filename: String,
    /// The media type, such as `application/pdf`.
    #[schemars(
        length(max = 255),
        regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$")
    )]
    pub content_type: String,
    /// The size in bytes, at most 5 GiB.
    #[schemars(range(max = 5_368_709_120_u64))]
    pub size: u64,
}

impl PresignUpload {
    /// Reads and checks a body; [`filename`](Self::filename) is reduced to a safe last path segment or refused. A missing
    /// `tenantId` is `tenant`.
    pub fn parse(body: &[u8], tenant: Option<&TenantId>) -> Result<Self, Invalid> {
        read_object(body, |fields| {
            let tenant_id = read_tenant(fields, tenant);
            let filename = fields.take("filename");
            let safe_name = read_file_name(&filename).and_then(|name| {
                safe_last_segment(&name)
                    .map_or_else(|| filename.refuse("must be a file name"), Some)
            });
            let content_type = read_media_type(&fields.take("contentType"));
            let size = fields.take("size").integer(0..=MAX_UPLOAD_BYTES);
            Some(Self {
                tenant_id: tenant_id?,
                filename: safe_name?,
                content_type: content_type?,
                size: size?,
            })
        })
    }
}

/// Reads `tenantId`, which is `tenant` if it is missing.
fn read_tenant(fields: &mut Fields<'_>, tenant: Option<&TenantId>) -> Option<TenantId> {
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

fn read_attachment(node: &Node<'_>, source: Source<'_>) -> Option<Attachment> {
    node.object(|file| {
        let filename = file.take("filename");
        let filename = if source.is_new() {
            read_file_name(&filename)
        } else {
            filename.string(255)
        };
        let content_type = read_media_type(&file.take("contentType"));
        let size = file.take("size").integer(0..=MAX_UPLOAD_BYTES);
        let storage_key = file.take("storageKey").string(1024);
        Some(Attachment {
            filename: filename?,
            content_type: content_type?,
            size: size?,
            storage_key: storage_key?,
        })
    })
}

/// Reads a media type (RFC 9110 section 8.3.1), which clients get back as a header value.
fn read_media_type(node: &Node<'_>) -> Option<String> {
    let text = node.string(255)?;
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let valid = essence
        .trim_end()
        .split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
        && parameters
            .bytes()
            .all(|b| b == b' ' || b.is_ascii_graphic());
    if valid {
        Some(text)
    } else {
        node.refuse("must be a MIME type format")
    }
}

/// Reads the name of a file that is new.
fn read_file_name(node: &Node<'_>) -> Option<String> {
    let name = node.string(255)?;
    if name.contains(is_deceptive) {
        return node.refuse("must not contain characters that change the direction of the text");
    }
    Some(name)
}

/// Line separators, and what embeds, overrides or isolates a direction: with them `invoice\u{202e}fdp.exe` is shown as
/// `invoiceexe.pdf`.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The last segment of a client's file name, composed (NFC). It keeps `.`, `_`, `-` and the letters and digits of any
/// script with their marks; other characters become `_`. `None` if nothing but dots is left.
fn safe_last_segment(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if last.chars().all(|c| c == '.') {
        return None;
    }
    let mut follows_letter = false;
    let safe = last.nfc().map(|c| {
        // Hindi and Persian join and separate letters by characters of their own.
        let belongs = is_combining_mark(c) || matches!(c, '\u{200c}' | '\u{200d}');
        follows_letter = c.is_alphanumeric() || follows_letter && belongs;
        if follows_letter || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '_'
        }
    });
    Some(safe.collect())
}

#[cfg(test)]
mod tests;
