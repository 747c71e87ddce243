//! Streams of events that nobody reads.

use std::time::{Duration, Instant};

use orders_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{Stage, connect};

/// A client that has opened a stream, and reads no more of it; `buffer` is what its kernel takes unread.
async fn open(port: u16, buffer: u32) -> TcpStream {
    let mut stream = connect(port, Some(buffer)).await;
    let request = "GET /api/orders/events?tenantId=t-busy HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

/// As with sockets.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_is_cut_and_nobody_waits() {
    const CLIENTS: usize = 10;
    let stage = Stage::start().await;
    let flood = async {
        loop {
            for _ in 0..20 {
                stage.tell("t-busy").await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let attack = async {
        let mut stalled = Vec::new();
        for port in [stage.realtime.port(), stage.edge.port()] {
            for _ in 0..CLIENTS {
                stalled.push(open(port, 4096).await);
            }
        }
        let ends = "orders_stream_ends_total";
        let began = Instant::now();
        eventually("all of them are cut", async || {
            let (ended, left) = (stage.sum(ends).await, stage.streams().await);
            match (ended, left) {
                (20.., 0) => Ok(began.elapsed()),
                other => Err(other),
            }
        })
        .await
    };
    let taken = tokio::select! {
        taken = stage.withstand("20 streams that nobody reads", attack) => taken,
        () = flood => unreachable!("the flood goes on"),
    };
    eprintln!("all cut after {taken:.1?}");
    stage.stack.clean_up().await;
}
