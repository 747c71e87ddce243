use std::{net::SocketAddr, pin::pin};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A proxy before a server. It can break connections, as in an outage, or swallow everything, as a broken switch does.
#[derive(Debug)]
pub struct Gate {
    /// The address of the proxy.
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
    /// Opens a proxy to the server at `target`, `host:port`.
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

    /// Starts an outage: breaks all connections, and every new one.
    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    /// Becomes a black hole: keeps connections and accepts new ones, but passes nothing on.
    pub fn swallow(&self) {
        self.way.send_replace(Way::BlackHole);
    }

    /// Ends the outage; data held up in a black hole moves again.
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
