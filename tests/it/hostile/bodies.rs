//! Bodies that never end: what they take is bounded, they are cut, and small requests get in meanwhile.

use reqwest::header::CONTENT_TYPE;

use super::*;

const MIB: u64 = 1 << 10;
/// What a daemon may grow by: its budget of 64 MiB, and 100 KiB for each connection.
const BUDGET: u64 = 64 * MIB + 60 * MIB;
/// What it may keep of that, for the connections.
const KEPT: u64 = 40 * MIB;
const CLIENTS: usize = 600;

/// Sends a request whose body lacks its last byte. Returns its status, or nothing if the server cut it without one.
async fn unfinished(port: u16, head: &str, body: &[u8]) -> Option<u16> {
    let mut stream = connect(port, None).await;
    let length = body.len() + 1;
    let head = format!("{head}host: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        // A server that refuses the request may hang up.
        let _ = writer.write_all(body).await;
    };
    let read = async {
        let mut answer = [0; 12];
        let read = timeout(2 * PATIENCE, reader.read_exact(&mut answer)).await;
        read.expect("an answer, or the end").ok()?;
        str::from_utf8(&answer[9..]).ok()?.parse().ok()
    };
    let (status, ()) = tokio::join!(read, write);
    status
}

/// Has many clients send all but the last byte of a large body, and a small request beside them.
async fn flood(daemon: &Daemon, head: &str, length: usize, small: impl AsyncFn() -> u16) {
    let before = resident(daemon);
    let peak = Cell::new(before);
    let watch = async {
        loop {
            peak.set(peak.get().max(resident(daemon)));
            sleep(Duration::from_millis(20)).await;
        }
    };
    let body = vec![b' '; length - 1];
    let attack = join_all((0..CLIENTS).map(|_| unfinished(daemon.port(), head, &body)));
    let beside = async {
        let mut answers = Vec::new();
        for _ in 0..20 {
            sleep(Duration::from_millis(100)).await;
            answers.push(small().await);
        }
        answers
    };
    let (statuses, answers) = tokio::select! {
        both = async { tokio::join!(attack, beside) } => both,
        () = watch => unreachable!("it watches for ever"),
    };
    let over = Instant::now();
    let after = eventually("no more is kept than the budget", async || {
        let now = resident(daemon);
        if now > before + KEPT {
            Err(now)
        } else {
            Ok(now)
        }
    })
    .await;
    let mut counts = BTreeMap::new();
    for status in statuses {
        *counts.entry(status).or_insert(0) += 1;
    }
    eprintln!(
        "{CLIENTS} bodies of {length} bytes: {} {before} KiB before, {} at most, {after} {:.1?} after; {counts:?}",
        daemon.name(),
        peak.get(),
        over.elapsed()
    );
    assert!(
        peak.get() < before + BUDGET,
        "{before}, then {}",
        peak.get()
    );
    assert!(
        counts.get(&Some(503)).is_some_and(|count| *count > 0),
        "{counts:?}"
    );
    assert!(counts.contains_key(&Some(408)), "{counts:?}");
    assert!(answers.iter().all(|status| *status == 400), "{answers:?}");
}

/// An upload that announces a terabyte and sends nothing of it.
async fn silent_upload(port: u16, path: &str) -> TcpStream {
    let mut stream = connect(port, None).await;
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn status(stream: &mut TcpStream) -> u16 {
    let mut answer = [0; 12];
    let read = timeout(2 * PATIENCE, stream.read_exact(&mut answer)).await;
    read.expect("an answer").unwrap();
    str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn bodies_that_never_end_are_bounded_and_cut() {
    let stack = Stack::start().await;
    let edge = stack.daemon("edge").start().await;
    let web = stack.daemon("web").env("ORDERS_EDGE_URL", &edge.url());
    let web = web.start().await;
    let http = reqwest::Client::new();

    let orders = async {
        let head = "POST /api/orders HTTP/1.1\r\ncontent-type: application/json\r\n";
        let small = async || {
            let post = http.post(format!("{}/api/orders", edge.url()));
            let answer = post.json(&json!({})).send().await.unwrap();
            answer.status().as_u16()
        };
        flood(&edge, head, 510 << 10, small).await;
    };
    let forms = async {
        let head =
            "POST /orders/new HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n";
        let small = async || {
            let post = http.post(format!("{}/orders/new", web.url()));
            let form = (CONTENT_TYPE, "application/x-www-form-urlencoded");
            let post = post.header(form.0, form.1).body("tenantId=.");
            let answer = post.send().await.unwrap();
            answer.status().as_u16()
        };
        flood(&web, head, 250 << 10, small).await;
    };
    tokio::join!(orders, forms);

    // As many uploads as there may be, and some more.
    const AT_ONCE: usize = 256;
    let began = Instant::now();
    let mut uploads = Vec::new();
    for _ in 0..AT_ONCE + 10 {
        uploads.push(silent_upload(edge.port(), "/mock-upload/x").await);
    }
    let mut elsewhere = Vec::new();
    for path in ["/mock-upload/x", "/api/orders", "/api/x", "/orders"] {
        elsewhere.push(silent_upload(web.port(), path).await);
    }
    let put = async || {
        let put = http.put(format!("{}/mock-upload/a/b", edge.url()));
        put.body("hello").send().await.unwrap().status().as_u16()
    };
    eventually("one upload too many is refused", async || {
        match put().await {
            503 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let mut statuses = Vec::new();
    for upload in &mut uploads {
        statuses.push(status(upload).await);
    }
    let refused = statuses.iter().filter(|status| **status == 503).count();
    let late = statuses.iter().filter(|status| **status == 408).count();
    assert!(
        late <= AT_ONCE && late + refused == statuses.len(),
        "{statuses:?}"
    );
    let ends = uploads.into_iter().chain(elsewhere).map(hung_up);
    join_all(ends).await;
    assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
    assert_eq!(put().await, 200);
    stack.clean_up().await;
}
