//! The server: files by name until the process is ended.

use std::{net::SocketAddr, path::Path, sync::Arc};

use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig};

use crate::{Outcome, environment::Environment, tls};

/// Longest request that is read.
const REQUEST: usize = 8_192;
/// Stream code for files that are not there.
const NOT_FOUND: u32 = 0x404;

/// Serves until the process is ended.
///
/// # Errors
/// Certificate, key or address cannot be used.
pub async fn run(environment: Environment) -> Outcome {
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(&environment)?));
    let mut transport = TransportConfig::default();
    transport.initial_mtu(1_200);
    config.transport_config(Arc::new(transport));
    for address in &environment.preferred {
        match address {
            SocketAddr::V4(address) => config.preferred_address_v4(Some(*address)),
            SocketAddr::V6(address) => config.preferred_address_v6(Some(*address)),
        };
    }
    let endpoint = Endpoint::server(config, environment.listen)?;
    eprintln!("listening on {}", endpoint.local_addr()?);
    let must_retry = environment.case == "retry";
    let www: Arc<Path> = environment.www.into();
    while let Some(incoming) = endpoint.accept().await {
        if must_retry && !incoming.remote_address_validated() {
            incoming.retry()?;
            continue;
        }
        let www = Arc::clone(&www);
        tokio::spawn(async move {
            let Ok(connecting) = incoming.accept() else { return };
            // Early data is data: serve what comes in 0-RTT.
            let connection = match connecting.into_0rtt() {
                Ok((connection, _)) => connection,
                Err(connecting) => match connecting.await {
                    Ok(connection) => connection,
                    Err(error) => return eprintln!("handshake: {error}"),
                },
            };
            serve(connection, www).await;
        });
    }
    Ok(())
}

async fn serve(connection: Connection, www: Arc<Path>) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        let www = Arc::clone(&www);
        tokio::spawn(async move {
            if let Err(error) = answer(send, receive, &www).await {
                eprintln!("request: {error}");
            }
        });
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream, www: &Path) -> Outcome {
    let request = receive.read_to_end(REQUEST).await?;
    let request = String::from_utf8(request)?;
    let name = request.strip_prefix("GET /").and_then(|rest| rest.split_whitespace().next());
    let body = name.filter(|name| !name.contains('/') && *name != "..").map(|name| std::fs::read(www.join(name)));
    match body {
        Some(Ok(body)) => {
            send.write_all(&body).await?;
            send.finish()?;
        }
        _ => send.reset(NOT_FOUND.into())?,
    }
    Ok(())
}
