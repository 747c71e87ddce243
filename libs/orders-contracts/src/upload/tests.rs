use super::*;
use crate::CreateOrder;

#[test]
fn upload_names_become_one_safe_segment() {
    let safe = |name: &str| {
        let body =
            serde_json::json!({"tenantId":"t","filename":name,"contentType":"text/plain","size":1});
        PresignUpload::parse(body.to_string().as_bytes(), None).map(|upload| upload.filename)
    };
    assert_eq!(safe("invoice.pdf").unwrap(), "invoice.pdf");
    assert_eq!(safe("../../etc/passwd").unwrap(), "passwd");
    assert_eq!(
        safe(r"C:\Users\me\my file (1).pdf").unwrap(),
        "my_file__1_.pdf"
    );
    for (name, segment) in [
        ("счёт.pdf", "счёт.pdf"),
        // As macOS sends it, decomposed.
        ("cafe\u{301}.pdf", "café.pdf"),
        ("हिन्दी.pdf", "हिन्दी.pdf"),
        ("می\u{200c}خواهم.pdf", "می\u{200c}خواهم.pdf"),
        ("👩\u{200d}💻.pdf", "___.pdf"),
        ("\u{301}a", "_a"),
        ("...pdf", "...pdf"),
        ("-", "-"),
    ] {
        assert_eq!(safe(name).unwrap(), segment);
    }
    for bad in [
        "",
        "..",
        "a/",
        ".",
        "///",
        "../..",
        "a\u{202e}fdp.exe",
        "a\u{2067}b",
        "a\nb",
    ] {
        assert!(safe(bad).is_err(), "{bad}");
    }
}

/// No language's regular expressions are assumed: Python has no `\p`, Java reads `[` within a class as a class.
#[test]
fn patterns_have_only_what_all_languages_have() {
    for pattern in [PRINTABLE, FILE_NAME, FILE_PATH] {
        let syntax = pattern.replace("\\u", "").replace("\\\\", "");
        assert!(!syntax.contains('\\'), "{pattern}");
    }
}

#[test]
fn a_hash_is_of_sha_256_and_may_be_missing() {
    let hash = |written: &str| {
        let body = format!(
            r#"{{"tenantId":"t","filename":"a","contentType":"a/b","size":1,"sha256":{written}}}"#
        );
        PresignUpload::parse(body.as_bytes(), None).map(|upload| upload.sha256)
    };
    assert_eq!(hash("null").unwrap(), None);
    let upper = format!("\"{}\"", "AB".repeat(32));
    assert_eq!(hash(&upper).unwrap(), Some("ab".repeat(32)));
    for bad in ["\"\"", "\"ab\"", "1", &format!("\"{}\"", "zz".repeat(32))] {
        assert!(hash(bad).is_err(), "{bad}");
    }
}

/// A client that could say what the bucket has would have any file taken for the one that was checked.
#[test]
fn only_an_edge_says_what_it_found() {
    let body = |member: &str| {
        format!(
            r#"{{"requestId":"r","tenantId":"t","buyer":{{"email":"a@b.cc","name":"A"}},"items":[{{"sku":"S","qty":1,"price":1}}],"attachment":{{"filename":"a","contentType":"a/b","size":1,"storageKey":"k",{member}}}}}"#
        )
    };
    for member in [r#""etag":"e""#, r#""version":"v""#] {
        let body = body(member);
        let Invalid(errors) = CreateOrder::parse(body.as_bytes(), None, None).unwrap_err();
        assert!(
            errors[0].message.ends_with("should not exist"),
            "{errors:?}"
        );
        let order = CreateOrder::read(body.as_bytes()).unwrap();
        let written = serde_json::to_string(&order).unwrap();
        assert!(written.contains(member), "{written}");
        let sent = order.attachment.unwrap().as_sent();
        assert_eq!((sent.etag, sent.version), (None, None));
    }
}
