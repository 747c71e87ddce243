//! Reads untrusted JSON into typed values and reports every fault with the field's path.
//!
//! The tree is never built: each level keeps the raw text of its members ([`RawValue`]), so numbers keep their digits
//! and a body nested thousands deep costs no stack.

mod parts;
mod texts;

use std::{cell::RefCell, collections::BTreeMap, ops::RangeInclusive, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeSeed};
use serde_json::value::RawValue;

use self::parts::{AtMost, Members};
pub(crate) use self::texts::Texts;
use crate::{InvalidMoney, Money, Unparsable, unsaid::UNKNOWN};

/// The most members of an object whose members are known: to read a hundred thousand takes a while.
const MAX_MEMBERS: usize = 100;
/// The most faults of a report: a body of a thousand broken items does not need a thousand lines.
const MAX_ERRORS: usize = 50;

/// A fault of an input: its place, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// The fault as NestJS words it, with the dotted path: `items.0.qty must be an integer number`.
    pub message: String,
    /// Its place, as a JSON pointer in a URI fragment (RFC 6901 section 6): `#/items/0/qty`.
    pub pointer: String,
    /// The rule alone: `must be an integer number`.
    pub detail: String,
}

impl FieldError {
    /// The fault `detail` of the member at `path`.
    pub fn new(path: &[&str], detail: impl Into<String>) -> Self {
        Path(path.iter().map(|&segment| segment.to_owned()).collect()).error(detail)
    }

    /// A fault of a whole message, of its headers or its subject.
    pub fn of_message(detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            message: detail.clone(),
            pointer: "#".to_owned(),
            detail,
        }
    }

    /// An unknown member `name` at the top.
    pub fn unknown(name: &str) -> Self {
        Path(Vec::new()).unknown(name)
    }

    /// Whether it is an unknown member.
    pub(crate) fn is_unknown(&self) -> bool {
        self.detail == UNKNOWN
    }
}

/// The faults of an input; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; "))]
pub struct Invalid(pub Vec<FieldError>);

impl Invalid {
    /// A single fault.
    pub fn one(path: &[&str], detail: impl Into<String>) -> Self {
        Self(vec![FieldError::new(path, detail)])
    }
}

#[derive(Clone, Default)]
struct Path(Vec<String>);

impl Path {
    fn child(&self, segment: impl Into<String>) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.into());
        Self(segments)
    }

    fn pointer(&self) -> String {
        let mut pointer = String::from("#");
        for segment in &self.0 {
            pointer.push('/');
            for byte in segment.bytes() {
                match byte {
                    b'~' => pointer.push_str("~0"),
                    b'/' => pointer.push_str("~1"),
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                        pointer.push(char::from(byte))
                    }
                    _ => pointer.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        pointer
    }

    fn error(&self, detail: impl Into<String>) -> FieldError {
        let detail = detail.into();
        let subject = if self.0.is_empty() {
            "body".to_owned()
        } else {
            self.0.join(".")
        };
        FieldError {
            message: format!("{subject} {detail}"),
            pointer: self.pointer(),
            detail,
        }
    }

    fn unknown(&self, name: &str) -> FieldError {
        let prefix = self
            .0
            .iter()
            .map(|segment| format!("{segment}."))
            .collect::<String>();
        FieldError {
            message: format!("{prefix}property {name} {UNKNOWN}"),
            pointer: self.child(name).pointer(),
            detail: UNKNOWN.to_owned(),
        }
    }
}

/// Runs `read` over the JSON object in `bytes` and returns its value, or every fault that it found.
///
/// Members that `read` does not take are faults too.
pub(crate) fn read_object<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Result<T, Invalid> {
    read_whole(bytes, |node| node.object(read))
}

/// The same for a sender that may add members: those that `read` does not take are ignored.
pub(crate) fn read_open_object<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Result<T, Invalid> {
    read_whole(bytes, |node| node.open_object(read))
}

fn read_whole<T>(bytes: &[u8], read: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, Invalid> {
    let raw: &RawValue = serde_json::from_slice(bytes)
        .map_err(|error| Invalid::one(&[], format!("must be valid JSON: {error}")))?;
    let errors = RefCell::new(Vec::new());
    let node = Node {
        raw: Some(raw),
        path: Path::default(),
        errors: &errors,
    };
    let value = read(&node);
    let errors = errors.into_inner();
    match value {
        Some(value) if errors.is_empty() => Ok(value),
        _ if errors.is_empty() => Err(Invalid::one(&[], "is not valid")),
        _ => Err(Invalid(errors)),
    }
}

/// The members of one JSON object, taken one by one.
pub(crate) struct Fields<'a> {
    members: BTreeMap<String, &'a RawValue>,
    path: Path,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> Fields<'a> {
    /// Takes the member `name`, which may be missing: the reading of the node decides whether that is a fault.
    pub(crate) fn take(&mut self, name: &'static str) -> Node<'a> {
        // An explicit null counts as missing, as in class-validator's IsOptional.
        let raw = self.members.remove(name).filter(|raw| raw.get() != "null");
        Node {
            raw,
            path: self.path.child(name),
            errors: self.errors,
        }
    }

    fn refuse_the_rest(self) {
        for name in self.members.keys() {
            report(self.errors, self.path.unknown(&printable(name)));
        }
    }
}

/// A value of the input, with its path.
pub(crate) struct Node<'a> {
    raw: Option<&'a RawValue>,
    path: Path,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> Node<'a> {
    /// Whether the member is missing or null.
    pub(crate) fn is_absent(&self) -> bool {
        self.raw.is_none()
    }

    /// Reports that this member breaks the rule `detail`.
    pub(crate) fn refuse<T>(&self, detail: impl Into<String>) -> Option<T> {
        report(self.errors, self.path.error(detail));
        None
    }

    /// An object, read by `read`; members it does not take are refused.
    pub(crate) fn object<T>(&self, read: impl FnOnce(&mut Fields<'a>) -> Option<T>) -> Option<T> {
        let mut fields = self.fields()?;
        let value = read(&mut fields);
        fields.refuse_the_rest();
        value
    }

    /// An object, read by `read`; members it does not take are ignored.
    pub(crate) fn open_object<T>(
        &self,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        read(&mut self.fields()?)
    }

    fn fields(&self) -> Option<Fields<'a>> {
        let raw = self.present("must be an object")?.get();
        if !raw.starts_with('{') {
            return self.refuse("must be an object");
        }
        Some(Fields {
            members: self.split(raw, Members(MAX_MEMBERS))?,
            path: self.path.clone(),
            errors: self.errors,
        })
    }

    /// An array of a length within `length`, its elements read by `read`.
    pub(crate) fn array<T>(
        &self,
        length: RangeInclusive<usize>,
        read: impl Fn(Node<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let raw = self.present("must be an array")?.get();
        if !raw.starts_with('[') {
            return self.refuse("must be an array");
        }
        let elements = self.split(raw, AtMost(*length.end()))?;
        if elements.len() < *length.start() {
            return self.refuse(format!("must contain at least {} elements", length.start()));
        }
        let mut values = Vec::with_capacity(elements.len());
        for (index, raw) in elements.into_iter().enumerate() {
            values.push(read(Node {
                raw: Some(raw),
                path: self.path.child(index.to_string()),
                errors: self.errors,
            }));
            if self.errors.borrow().len() >= MAX_ERRORS {
                return None;
            }
        }
        values.into_iter().collect()
    }

    /// The parts of `raw`; what is wrong with them is a fault of this node.
    fn split<P: DeserializeSeed<'a>>(&self, raw: &'a str, parts: P) -> Option<P::Value> {
        let mut raw = serde_json::Deserializer::from_str(raw);
        match parts.deserialize(&mut raw) {
            Ok(parts) => Some(parts),
            Err(error) if error.is_data() => {
                let text = error.to_string();
                self.refuse(text.split(" at line").next().unwrap_or_default())
            }
            Err(_) => self.refuse("must be valid JSON"),
        }
    }

    /// A string of 1 to `max` characters without control characters.
    pub(crate) fn string(&self, max: usize) -> Option<String> {
        let text = self.text()?;
        match text.chars().count() {
            0 => self.refuse("should not be empty"),
            length if length > max => {
                self.refuse(format!("must be shorter than or equal to {max} characters"))
            }
            _ if text.chars().any(char::is_control) => {
                self.refuse("must not contain control characters")
            }
            _ => Some(text),
        }
    }

    /// A string that is a valid `T`.
    pub(crate) fn id<T: FromStr<Err = Unparsable>>(&self) -> Option<T> {
        match self.text()?.parse() {
            Ok(id) => Some(id),
            Err(Unparsable(rule)) => self.refuse(rule),
        }
    }

    /// An e-mail address with a domain that has a dot.
    pub(crate) fn email(&self) -> Option<String> {
        let text = self.text()?;
        if is_email(&text) {
            Some(text)
        } else {
            self.refuse("must be an email")
        }
    }

    /// An integer within `range`; `1.0` and `1e0` are integers too, as they are to JavaScript.
    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let raw = self.present("must be an integer number")?.get();
        let negative = raw.starts_with('-');
        match raw.parse::<u64>().ok().or_else(|| integer_from_float(raw)) {
            Some(value) if range.contains(&value) => Some(value),
            Some(value) if value > *range.end() => {
                self.refuse(format!("must not be greater than {}", range.end()))
            }
            Some(_) => self.refuse(format!("must not be less than {}", range.start())),
            None if negative && raw[1..].bytes().all(|b| b.is_ascii_digit()) => {
                self.refuse(format!("must not be less than {}", range.start()))
            }
            None if raw.bytes().all(|b| b.is_ascii_digit()) => {
                self.refuse(format!("must not be greater than {}", range.end()))
            }
            None => self.refuse("must be an integer number"),
        }
    }

    /// A price, read exactly.
    pub(crate) fn price(&self) -> Option<Money> {
        match Money::parse_price(self.present("must be a number")?.get()) {
            Ok(price) => Some(price),
            Err(error) => self.refuse(error.to_string()),
        }
    }

    /// An amount, read exactly. It may be larger than any price.
    pub(crate) fn amount(&self) -> Option<Money> {
        match self.present("must be a number")?.get().parse() {
            Ok(amount) => Some(amount),
            Err(InvalidMoney::TooLarge) => self.refuse("must not have more than 28 digits"),
            Err(error) => self.refuse(error.to_string()),
        }
    }

    fn present(&self, otherwise: &str) -> Option<&'a RawValue> {
        match self.raw {
            Some(raw) if raw.get() != "null" => Some(raw),
            _ => self.refuse(otherwise),
        }
    }

    fn text(&self) -> Option<String> {
        let raw = self.present("should not be empty")?;
        match serde_json::from_str(raw.get()) {
            Ok(text) => Some(text),
            Err(_) => self.refuse("must be a string"),
        }
    }
}

/// Whether `text` is an everyday e-mail address: one `@`, a domain with a dot, no comments.
pub fn is_email(text: &str) -> bool {
    let options = email_address::Options::default()
        .with_required_tld()
        .without_domain_literal()
        .without_display_text();
    text.len() <= 254 && email_address::EmailAddress::parse_with_options(text, options).is_ok()
}

/// JavaScript has no integer type: `2.0` is an integer, up to 2^53.
fn integer_from_float(raw: &str) -> Option<u64> {
    const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
    let value = raw.parse::<f64>().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // checked: whole and within 0..2^53
    (value.fract() == 0.0 && (0.0..=MAX_SAFE).contains(&value)).then_some(value as u64)
}

fn report(errors: &RefCell<Vec<FieldError>>, error: FieldError) {
    let mut errors = errors.borrow_mut();
    if errors.len() < MAX_ERRORS {
        errors.push(error);
    }
}

/// A client's member name made safe to show: no control characters, bounded length.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}
