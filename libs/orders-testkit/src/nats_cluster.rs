use std::path::Path;

use crate::{
    Host, NatsServer, free_port,
    nats::{Launch, Sync},
};

/// Servers that form a JetStream cluster. They end when this value is dropped.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
    absent: Vec<Launch>,
    places: Vec<Place>,
    url: String,
}

impl NatsCluster {
    /// The port at which servers on hosts speak to each other, and to nobody else.
    pub const ROUTES: u16 = 6222;

    /// Starts a server on each host, but only on the first `count` now; their files are in `folder`.
    pub async fn on(hosts: &[&Host], count: usize, folder: &Path, sync: Sync) -> Self {
        let places = hosts.iter().map(|host| Place {
            name: host.name().to_owned(),
            host: Some((*host).clone()),
            port: 4222,
            routes: format!("{}:{}", host.address(), Self::ROUTES),
        });
        Self::start(places.collect(), count, folder, sync).await
    }

    /// Starts so many servers here; their files are in `folder`. One alone is no cluster.
    pub async fn here(count: usize, folder: &Path, sync: Sync) -> Self {
        let places = (1..=count).map(|n| Place {
            name: format!("nats-{n}"),
            host: None,
            port: free_port(),
            routes: format!("127.0.0.1:{}", free_port()),
        });
        Self::start(places.collect(), count, folder, sync).await
    }

    async fn start(places: Vec<Place>, count: usize, folder: &Path, sync: Sync) -> Self {
        let launches = places.iter().map(|place| {
            // A new cluster waits for every server that is in its list.
            let routes = &places[..count];
            Launch::new(place.port, folder, &place.name, &place.settings(routes))
                .on(place.host.as_ref())
                .sync(sync)
        });
        let mut absent: Vec<Launch> = launches.collect();
        let url: Vec<String> = absent.iter().map(Launch::url).collect();
        let servers = absent.drain(..count).map(Launch::start).collect();
        let cluster = Self {
            servers,
            absent,
            places,
            url: url.join(","),
        };
        for server in &cluster.servers {
            server.ready().await;
        }
        cluster
    }

    /// Starts the servers that have not been started yet. The others hear of them.
    pub async fn join(&mut self) {
        for (server, place) in self.servers.iter_mut().zip(&self.places) {
            // For its next start.
            server.launch.settings = place.settings(&self.places);
        }
        for (mut launch, place) in self
            .absent
            .drain(..)
            .zip(&self.places[self.servers.len()..])
        {
            launch.settings = place.settings(&self.places);
            self.servers.push(launch.start());
        }
        for server in &self.servers {
            server.ready().await;
        }
    }

    /// The URLs of all servers, as `NATS_URL` lists them.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The servers that were started, in the order of their hosts.
    pub fn servers(&mut self) -> &mut [NatsServer] {
        &mut self.servers
    }
}

/// Where a server is.
#[derive(Debug)]
struct Place {
    name: String,
    host: Option<Host>,
    port: u16,
    /// The address at which other servers reach it.
    routes: String,
}

impl Place {
    /// The settings of a server that knows `all` of its cluster.
    fn settings(&self, all: &[Self]) -> String {
        let [_, _, ..] = all else {
            return String::new();
        };
        let routes: Vec<String> = all
            .iter()
            .map(|place| format!("nats://{}", place.routes))
            .collect();
        format!(
            "server_name: {}\ncluster {{ name: orders, listen: \"{}\", routes: [{}] }}",
            self.name,
            self.routes,
            routes.join(", ")
        )
    }
}
