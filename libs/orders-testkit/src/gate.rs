use std::{net::SocketAddr, pin::pin};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A way to a server that can be closed, as in an outage, or become a black hole, as behind a broken switch.
#[derive(Debug)]
pub struct Gate {
    /// Where the way begins.
    pub address: SocketAddr,
    way: watch::Sender<Way>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Closed,
    BlackHole,
}

impl Gate {
    /// Opens a way to the server at `target`, `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (sender, way) = watch::channel(Way::Open);
        tokio::spawn(forward(listener, target.to_owned(), way));
        Self {
            address,
            way: sender,
        }
    }

    /// Begins an outage: connections break, and new ones come to nothing.
    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    /// Keeps connections, and takes new ones, and moves nothing.
    pub fn swallow(&self) {
        self.way.send_replace(Way::BlackHole);
    }

    /// Ends the outage; what was held up in a black hole goes on.
    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn forward(listener: TcpListener, target: String, way: watch::Receiver<Way>) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(pass(near, target.clone(), way.clone()));
    }
}

async fn pass(mut near: TcpStream, target: String, mut way: watch::Receiver<Way>) {
    let mut moving = pin!(async {
        if let Ok(mut far) = TcpStream::connect(target).await {
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
    });
    loop {
        let now = *way.borrow_and_update();
        if now == Way::Closed {
            return;
        }
        tokio::select! {
            () = &mut moving, if now == Way::Open => return,
            changed = way.changed() => if changed.is_err() { return },
        }
    }
}
