//! The transfers, over any pair of stream halves.

use ring::digest::{Context, SHA256};
use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::pattern;

/// Direction byte of an upload.
pub const UP: u8 = b'U';
/// Direction byte of a download.
pub const DOWN: u8 = b'D';
/// Bytes of the head: count and direction.
pub const HEAD: usize = 9;
/// Bytes of a SHA-256.
pub const HASH: usize = 32;
/// Bytes read or written at once at most.
const CHUNK: usize = 65_536;

/// The head of a stream.
#[must_use]
pub fn head(count: u64, direction: u8) -> [u8; HEAD] {
    let mut head = [direction; HEAD];
    head[..8].copy_from_slice(&count.to_be_bytes());
    head
}

/// What the server did for one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Bytes uploaded to us.
    pub up: u64,
    /// Bytes downloaded from us.
    pub down: u64,
}

/// The server's part of one stream; `at_half` is called once in the middle.
///
/// # Errors
/// The stream failed, or what came is not what should.
pub async fn serve<W, R>(send: &mut W, receive: &mut R, at_half: impl FnMut()) -> Result<Served>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let count = receive.read_u64().await?;
    match receive.read_u8().await? {
        UP => {
            let hash = take(receive, count, at_half).await?;
            send.write_all(&hash).await?;
            send.shutdown().await?;
            Ok(Served { up: count, down: 0 })
        }
        DOWN => {
            give(send, count, at_half).await?;
            Ok(Served { up: 0, down: count })
        }
        other => Err(wrong(format!("direction {other:#x}"))),
    }
}

/// The client's upload; returns when the server's hash is here and right.
///
/// # Errors
/// The stream failed, or the hash is wrong.
pub async fn upload<W, R>(send: &mut W, receive: &mut R, count: u64, at_half: impl FnMut()) -> Result<()>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    send.write_all(&head(count, UP)).await?;
    give(send, count, at_half).await?;
    let mut hash = Vec::new();
    receive.take(HASH as u64 + 1).read_to_end(&mut hash).await?;
    if hash == expected_hash(count) { Ok(()) } else { Err(wrong("the server's hash differs".to_owned())) }
}

/// The client's download, checked byte by byte.
///
/// # Errors
/// The stream failed, or bytes are wrong.
pub async fn download<W, R>(send: &mut W, receive: &mut R, count: u64, at_half: impl FnMut()) -> Result<()>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    send.write_all(&head(count, DOWN)).await?;
    send.shutdown().await?;
    take(receive, count, at_half).await.map(|_| ())
}

/// SHA-256 of the first `count` patterned bytes.
#[must_use]
pub fn expected_hash(count: u64) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let mut offset = 0;
    while offset < count {
        let piece = piece(offset, count);
        context.update(piece);
        offset += piece.len() as u64;
    }
    context.finish().as_ref().to_vec()
}

/// The patterned bytes to write next.
fn piece(offset: u64, count: u64) -> &'static [u8] {
    let bytes = pattern::at(offset);
    let length = bytes.len().min(usize::try_from(count - offset).unwrap_or(usize::MAX));
    &bytes[..length]
}

async fn give<W: AsyncWrite + Unpin>(send: &mut W, count: u64, mut at_half: impl FnMut()) -> Result<()> {
    let mut offset = 0;
    while offset < count {
        let piece = piece(offset, count);
        send.write_all(piece).await?;
        let before = offset;
        offset += piece.len() as u64;
        if before < count / 2 && offset >= count / 2 {
            at_half();
        }
    }
    send.shutdown().await
}

async fn take<R: AsyncRead + Unpin>(receive: &mut R, count: u64, mut at_half: impl FnMut()) -> Result<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let length = receive.read(&mut buffer).await?;
        let bytes = &buffer[..length];
        if length == 0 {
            break;
        }
        if !pattern::matches(offset, bytes) {
            return Err(wrong(format!("wrong bytes at {offset}")));
        }
        context.update(bytes);
        let before = offset;
        offset += length as u64;
        if before < count / 2 && offset >= count / 2 {
            at_half();
        }
    }
    if offset != count {
        return Err(wrong(format!("{offset} bytes instead of {count}")));
    }
    Ok(context.finish().as_ref().to_vec())
}

fn wrong(words: String) -> Error {
    Error::new(ErrorKind::InvalidData, words)
}
