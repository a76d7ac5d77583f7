//! The client's part of every case: measures.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use bench_common::{
    options::{Case, ClientOptions},
    report::{Meter, Report},
    settings::{CHUNK, REQUEST, SERVER_NAME},
    sockets, tls,
};
use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime, crypto::rustls::QuicClientConfig};
use tokio::task::{JoinSet, LocalSet};

use crate::{Failure, transport};

/// Runs the case.
pub async fn measure(options: &ClientOptions) -> Result<Report, Failure> {
    let crypto = QuicClientConfig::try_from(tls::client(&options.ca)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(options.gso)?);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), None, sockets::bind()?, Arc::new(TokioRuntime))?;
    endpoint.set_default_client_config(config);
    LocalSet::new()
        .run_until(async {
            match options.case {
                Case::Handshakes => handshakes(&endpoint, options).await,
                Case::Bulk => bulk(connect(&endpoint, options).await?, options).await,
                Case::Streams => streams(connect(&endpoint, options).await?, options).await,
            }
        })
        .await
}

async fn connect(endpoint: &Endpoint, options: &ClientOptions) -> Result<Connection, Failure> {
    Ok(endpoint.connect(options.connect, SERVER_NAME)?.await?)
}

async fn bulk(connection: Connection, options: &ClientOptions) -> Result<Report, Failure> {
    let meter = Meter::start();
    let mut tasks = JoinSet::new();
    for _ in 0..options.streams {
        tasks.spawn_local(upload(connection.clone(), meter, options.time));
    }
    let mut bytes = 0;
    while let Some(count) = tasks.join_next().await {
        bytes += count??;
    }
    let stats = connection.stats();
    connection.close(0_u32.into(), b"");
    let lost = stats.path.lost_packets;
    Ok(Report { bytes, bursts: stats.udp_tx.ios, segments: stats.udp_tx.datagrams, lost, ..meter.report() })
}

async fn upload(connection: Connection, meter: Meter, time: Duration) -> Result<u64, Failure> {
    let chunk = Bytes::from(vec![7; CHUNK]);
    let (mut send, mut receive) = connection.open_bi().await?;
    while meter.elapsed() < time {
        send.write_chunk(chunk.clone()).await?;
    }
    send.finish()?;
    let mut count = [0; 8];
    receive.read_exact(&mut count).await?;
    Ok(u64::from_be_bytes(count))
}

async fn handshakes(endpoint: &Endpoint, options: &ClientOptions) -> Result<Report, Failure> {
    let meter = Meter::start();
    let time = options.time;
    repeat(options.in_flight, move || meter.elapsed() < time, {
        let (endpoint, options) = (endpoint.clone(), Rc::new(options.clone()));
        move || {
            let (endpoint, options) = (endpoint.clone(), Rc::clone(&options));
            async move {
                let connection = connect(&endpoint, &options).await?;
                let mut greeting = connection.accept_uni().await?;
                greeting.read_to_end(1).await?;
                connection.close(0_u32.into(), b"");
                Ok(())
            }
        }
    })
    .await
    .map(|operations| Report { operations, ..meter.report() })
}

async fn streams(connection: Connection, options: &ClientOptions) -> Result<Report, Failure> {
    let meter = Meter::start();
    let time = options.time;
    let operations = repeat(options.in_flight, move || meter.elapsed() < time, {
        let connection = connection.clone();
        move || {
            let connection = connection.clone();
            async move {
                let (mut send, mut receive) = connection.open_bi().await?;
                send.write_all(&[7; REQUEST]).await?;
                send.finish()?;
                if receive.read_to_end(REQUEST).await?.len() == REQUEST { Ok(()) } else { Err("short answer".into()) }
            }
        }
    })
    .await?;
    let report = Report { operations, ..meter.report() };
    connection.close(0_u32.into(), b"");
    Ok(report)
}

/// Does `operation` again and again while `goes_on`, `in_flight` at once; returns how often.
async fn repeat<F>(
    in_flight: usize,
    goes_on: impl Fn() -> bool + Clone + 'static,
    operation: impl Fn() -> F + Clone + 'static,
) -> Result<u64, Failure>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let done = Rc::new(Cell::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (done, goes_on, operation) = (Rc::clone(&done), goes_on.clone(), operation.clone());
        tasks.spawn_local(async move {
            while goes_on() {
                operation().await?;
                done.set(done.get() + 1);
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(done.get())
}
