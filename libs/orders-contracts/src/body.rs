use crate::{
    CancelOrder, Channel, CommandId, CreateOrder, FieldError, Invalid, Metadata, OrderEvent,
    OrderPaid, Payment, PaymentFailed, TenantId, unsaid::without_value,
};

/// Everything a message says of itself outside its body.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The kind of message, by its subject.
    pub channel: Channel,
    /// The tenant, by the subject.
    pub tenant: &'a TenantId,
    /// The headers.
    pub metadata: &'a Metadata,
}

/// The body of a message in the form its reader works with. Reading it checks it against the subject and the headers,
/// once and for all: no reader has to compare them again.
pub trait Body: Sized + Send + Sync + 'static {
    /// Reads `payload`, which came in `envelope`; every fault is named by its path.
    fn read(payload: &[u8], envelope: Envelope<'_>) -> Result<Self, Vec<FieldError>>;
}

/// The body of a message on `orders.cmd.{tenant}.create` or `.cancel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderCommand {
    /// Create an order.
    Create {
        /// The order to create.
        order: Box<CreateOrder>,
        /// The attempt, from `ce-id`: the edge makes a fresh one for each HTTP request.
        command_id: CommandId,
    },
    /// Cancel an order.
    Cancel(CancelOrder),
}

impl Body for OrderCommand {
    fn read(payload: &[u8], envelope: Envelope<'_>) -> Result<Self, Vec<FieldError>> {
        match envelope.channel {
            Channel::CreateOrder => {
                let order = CreateOrder::read(payload).map_err(|Invalid(faults)| faults)?;
                same_tenant(&order.tenant_id, envelope)?;
                if order.order_id() != envelope.metadata.order_id {
                    return fault(
                        "header ce-subject must be the id derived from tenantId and requestId",
                    );
                }
                let Ok(command_id) = envelope.metadata.id.parse() else {
                    return fault("header ce-id must match /^[A-Za-z0-9_-]{1,64}$/");
                };
                let order = Box::new(order);
                Ok(Self::Create { order, command_id })
            }
            Channel::CancelOrder => {
                let cancel = CancelOrder::parse(payload).map_err(|Invalid(faults)| faults)?;
                same_tenant(&cancel.tenant_id, envelope)?;
                if cancel.order_id != envelope.metadata.order_id {
                    let rule = "must be the order of the header ce-subject";
                    return Err(vec![FieldError::new(&["orderId"], rule)]);
                }
                Ok(Self::Cancel(cancel))
            }
            _ => fault("the subject names no command"),
        }
    }
}

impl Body for OrderEvent {
    fn read(payload: &[u8], envelope: Envelope<'_>) -> Result<Self, Vec<FieldError>> {
        let event: Self = json(payload, "an order event")?;
        same_tenant(&event.tenant_id, envelope)?;
        if event.order.order_id != envelope.metadata.order_id {
            let rule = "must be the order of the header ce-subject";
            return Err(vec![FieldError::new(&["order", "orderId"], rule)]);
        }
        if event.version == 0 || event.channel() != envelope.channel {
            let rule = "must be 1 on `created`, and 2 or higher on `updated`";
            return Err(vec![FieldError::new(&["version"], rule)]);
        }
        Ok(event)
    }
}

impl Body for Payment {
    fn read(payload: &[u8], envelope: Envelope<'_>) -> Result<Self, Vec<FieldError>> {
        let payment = match envelope.channel {
            Channel::OrderPaid => Self::Paid(json::<OrderPaid>(payload, "a payment")?),
            Channel::PaymentFailed => {
                Self::Failed(json::<PaymentFailed>(payload, "a failed payment")?)
            }
            _ => return fault("the subject names no payment"),
        };
        same_tenant(payment.tenant_id(), envelope)?;
        if *payment.order_id() != envelope.metadata.order_id {
            let rule = "must be the order of the header ce-subject";
            return Err(vec![FieldError::new(&["orderId"], rule)]);
        }
        Ok(payment)
    }
}

impl Body for OrderPaid {
    fn read(payload: &[u8], envelope: Envelope<'_>) -> Result<Self, Vec<FieldError>> {
        match Payment::read(payload, envelope)? {
            Payment::Paid(paid) => Ok(paid),
            Payment::Failed(_) => fault("the payment failed"),
        }
    }
}

fn json<T: serde::de::DeserializeOwned>(payload: &[u8], what: &str) -> Result<T, Vec<FieldError>> {
    serde_json::from_slice(payload).or_else(|error| {
        let error = without_value(&error.to_string());
        fault(format!("the body is not {what}: {error}"))
    })
}

fn same_tenant(tenant: &TenantId, envelope: Envelope<'_>) -> Result<(), Vec<FieldError>> {
    if tenant == envelope.tenant {
        return Ok(());
    }
    let rule = "must be the tenant of the subject";
    Err(vec![FieldError::new(&["tenantId"], rule)])
}

fn fault<T>(detail: impl Into<String>) -> Result<T, Vec<FieldError>> {
    Err(vec![FieldError::of_message(detail)])
}
