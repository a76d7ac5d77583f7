//! The client: fetches files as the case wants them spread over connections.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quinn::{ClientConfig, Connection, Endpoint, TransportConfig};
use tokio::task::JoinSet;

use crate::{
    Outcome,
    environment::{Environment, Request},
    tls,
};

/// The client moves to another socket once it has so many bytes.
const MOVE_AT: usize = 300_000;
/// Session tickets come right behind the handshake; a busy machine needs a moment.
const TICKET: Duration = Duration::from_secs(1);

/// Fetches everything.
///
/// # Errors
/// A download is not complete.
pub async fn run(environment: &Environment) -> Outcome {
    let any: IpAddr = if environment.requests.iter().any(|request| request.server.is_ipv6()) {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let mut endpoint = Endpoint::client((any, 0).into())?;
    let mut config = ClientConfig::new(Arc::new(tls::client(environment)?));
    let mut transport = TransportConfig::default();
    transport.initial_mtu(1_200);
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    match environment.case.as_str() {
        "multiconnect" | "handshakeloss" | "handshakecorruption" => {
            for request in &environment.requests {
                fetch(&endpoint, std::slice::from_ref(request), environment).await?;
            }
        }
        "resumption" | "zerortt" => {
            let (first, rest) = environment.requests.split_at(1);
            fetch(&endpoint, first, environment).await?;
            fetch(&endpoint, rest, environment).await?;
        }
        _ => fetch(&endpoint, &environment.requests, environment).await?,
    }
    endpoint.wait_idle().await;
    Ok(())
}

async fn fetch(endpoint: &Endpoint, requests: &[Request], environment: &Environment) -> Outcome {
    let Some(first) = requests.first() else { return Ok(()) };
    let connecting = endpoint.connect(first.server, "server")?;
    let connection = match connecting.into_0rtt() {
        Ok((connection, _)) => connection,
        Err(connecting) => connecting.await?,
    };
    if environment.case == "keyupdate" {
        connection.force_key_update();
    }
    let received = Arc::new(AtomicUsize::new(0));
    let mut files = JoinSet::new();
    for request in requests.iter().filter(|request| request.name().is_some()) {
        let (connection, received) = (connection.clone(), Arc::clone(&received));
        files.spawn(download(connection, request.clone(), environment.downloads.clone().into(), received));
    }
    if environment.case == "connectionmigration" {
        while received.load(Ordering::Relaxed) < MOVE_AT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        endpoint.rebind(UdpSocket::bind((endpoint.local_addr()?.ip(), 0))?)?;
    }
    while let Some(done) = files.join_next().await {
        done??;
    }
    if ["resumption", "zerortt"].contains(&environment.case.as_str()) {
        tokio::time::sleep(TICKET).await;
    }
    connection.close(0_u32.into(), b"");
    Ok(())
}

async fn download(connection: Connection, request: Request, folder: Arc<Path>, received: Arc<AtomicUsize>) -> Outcome {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(format!("GET {}\r\n", request.path).as_bytes()).await?;
    send.finish()?;
    let mut body = Vec::new();
    while let Some(chunk) = receive.read_chunk(65_536, true).await? {
        received.fetch_add(chunk.bytes.len(), Ordering::Relaxed);
        body.extend_from_slice(&chunk.bytes);
    }
    std::fs::write(folder.join(request.name().unwrap_or("index")), body)?;
    Ok(())
}
