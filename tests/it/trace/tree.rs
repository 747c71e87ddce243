//! Traces as trees.

use std::collections::BTreeSet;

use orders_testkit::CollectedSpan;

/// Whether all parents among `spans` are there, apart from `outside`, the span of a client.
pub(super) fn is_whole(spans: &[CollectedSpan], outside: Option<&str>) -> bool {
    let ids: BTreeSet<&str> = spans.iter().map(|span| &*span.place.span).collect();
    let parents = spans.iter().filter_map(|span| span.parent.as_deref());
    !spans.is_empty()
        && parents
            .filter(|parent| outside != Some(parent))
            .all(|parent| ids.contains(parent))
}

/// The tree of `spans` below `parent`: in each line a service, the kind of a span and its name; children in the order of
/// these.
pub(super) fn tree(spans: &[CollectedSpan], parent: Option<&str>) -> String {
    let mut text = String::new();
    draw(spans, parent, 0, &mut text);
    text
}

fn draw(spans: &[CollectedSpan], parent: Option<&str>, depth: usize, text: &mut String) {
    assert!(
        depth <= spans.len(),
        "a span is its own ancestor: {spans:#?}"
    );
    let line = |span: &CollectedSpan| format!("{} {} {}", span.service(), span.kind, span.name);
    let mut children: Vec<_> = spans
        .iter()
        .filter(|span| span.parent.as_deref() == parent)
        .collect();
    children.sort_by_key(|span| (line(span), span.start));
    for child in children {
        *text += &format!("{}{}\n", "  ".repeat(depth), line(child));
        draw(spans, Some(&child.place.span), depth + 1, text);
    }
}
