//! The parts of S3's answers that count here.

use roxmltree::{Document, Node};

use crate::Error;

/// S3's word for why it refuses, if `body` has one. It may go to a log: letters alone, and not many.
pub(crate) fn code(body: &[u8]) -> Option<String> {
    let document = parse(body).ok()?;
    let code = text(document.root_element(), "Code")?;
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

/// The document that `body` is. One with a type declaration is refused, so nothing in it expands.
pub(crate) fn parse(body: &[u8]) -> Result<Document<'_>, Error> {
    let text = str::from_utf8(body).map_err(|_| Error::Unreadable("it is not UTF-8"))?;
    Document::parse(text).map_err(|_| Error::Unreadable("it is not XML"))
}

/// The text of the child element `name`, whatever its namespace: not all servers write one.
pub(crate) fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    children(node, name)
        .next()
        .map(|child| child.text().unwrap_or_default())
}

/// The child elements `name`.
pub(crate) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| child.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_its_word_and_nothing_else_of_it_is_shown() {
        let refusal = |code: &str| {
            format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>key</Message></Error>"
            )
        };
        assert_eq!(
            code(refusal("AccessDenied").as_bytes()).as_deref(),
            Some("AccessDenied")
        );
        for strange in ["Access Denied", "", "é", &"x".repeat(65)] {
            assert_eq!(code(refusal(strange).as_bytes()), None, "{strange}");
        }
        assert_eq!(code(b"<html>"), None);
        assert_eq!(code(b""), None);
        assert_eq!(code(b"\xff"), None);
        let bomb = b"<!DOCTYPE a [<!ENTITY b \"c\">]><Error><Code>&b;</Code></Error>";
        assert_eq!(code(bomb), None);
    }
}
