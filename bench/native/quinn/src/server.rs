//! The server's part of every case.

use std::sync::Arc;

use bench_common::{
    options::{Case, ServerOptions},
    report::{self, Meter, Report},
    settings::{CHUNK, REQUEST},
    sockets, tls,
};
use quinn::{
    Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    crypto::rustls::QuicServerConfig,
};

use crate::{Failure, transport};

/// Serves until stdin ends.
pub async fn serve(options: &ServerOptions) -> Result<Report, Failure> {
    let crypto = QuicServerConfig::try_from(tls::server(&options.cert, &options.key)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(options.gso)?);
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), sockets::bind()?, Arc::new(TokioRuntime))?;
    report::listening(endpoint.local_addr()?);
    let meter = Meter::start();
    let (told, end) = tokio::sync::oneshot::channel();
    report::when_told(move || told.send(()).unwrap_or_default());
    let case = options.case;
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                // How a connection ends is the client's to report.
                if let Ok(connection) = incoming.await {
                    drop(on_connection(connection, case).await);
                }
            });
        }
    });
    end.await?;
    Ok(meter.report())
}

async fn on_connection(connection: Connection, case: Case) -> Result<(), Failure> {
    if case == Case::Handshakes {
        let mut greeting = connection.open_uni().await?;
        greeting.write_all(&[1]).await?;
        greeting.finish()?;
        connection.closed().await;
        return Ok(());
    }
    loop {
        let (send, receive) = connection.accept_bi().await?;
        tokio::spawn(async move {
            match case {
                Case::Bulk => drop(count(send, receive).await),
                Case::Streams | Case::Handshakes => drop(answer(send, receive).await),
            }
        });
    }
}

async fn count(mut send: SendStream, mut receive: RecvStream) -> Result<(), Failure> {
    let mut count = 0_u64;
    while let Some(chunk) = receive.read_chunk(CHUNK, true).await? {
        count += chunk.bytes.len() as u64;
    }
    send.write_all(&count.to_be_bytes()).await?;
    send.finish()?;
    Ok(())
}

async fn answer(mut send: SendStream, mut receive: RecvStream) -> Result<(), Failure> {
    let request = receive.read_to_end(REQUEST).await?;
    send.write_all(&request).await?;
    send.finish()?;
    Ok(())
}
