use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A way to a server that can be closed: then connections break and new ones come to nothing, as in an outage.
#[derive(Debug)]
pub struct Gate {
    /// Where the way begins.
    pub address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Opens a way to the server at `target`, `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (open, is_open) = watch::channel(true);
        tokio::spawn(forward(listener, target.to_owned(), is_open));
        Self { address, open }
    }

    /// Begins the outage.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Ends the outage.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn forward(listener: TcpListener, target: String, is_open: watch::Receiver<bool>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (target, mut is_open) = (target.clone(), is_open.clone());
        tokio::spawn(async move {
            if !*is_open.borrow() {
                return;
            }
            let Ok(mut far) = TcpStream::connect(target).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = is_open.wait_for(|open| !open) => {}
            }
        });
    }
}
