//! The devices, and the loop that carries packets between them.

use std::{
    collections::VecDeque,
    ffi::{c_char, c_int, c_short},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    time::{Duration, Instant},
};

/// Packets of a device that are taken in before others have their turn.
const BATCH: usize = 64;
/// Packets that wait, of all links.
const MOST_WAITING: usize = 20_000;
const MAX_PACKET: usize = 65_536;
/// `struct ifreq`: a name and a union.
const NAME_LENGTH: usize = 16;

#[repr(C)]
struct DeviceRequest {
    name: [c_char; NAME_LENGTH],
    flags: c_short,
    rest: [u8; 22],
}

struct Packet {
    due: Instant,
    /// Index of the device it leaves by.
    to: usize,
    bytes: Vec<u8>,
}

/// Everything, until stdin ends.
pub(crate) fn run() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let delay = arguments.next().and_then(|text| text.parse().ok()).map(Duration::from_micros).ok_or_else(usage)?;
    let mut devices = Vec::new();
    for link in arguments {
        let (one, other) = link.split_once('=').ok_or_else(usage)?;
        for end in [one, other] {
            let (namespace, name) = end.split_once(':').ok_or_else(usage)?;
            devices.push(open_device(namespace, name)?);
        }
    }
    writeln!(io::stdout(), "{{\"event\":\"ready\"}}")?;
    carry(&devices, delay)
}

fn usage() -> io::Error {
    io::Error::other("usage: wire DELAY_US NAMESPACE:DEVICE=NAMESPACE:DEVICE...")
}

/// A TUN device in a network namespace; this thread stays in it.
fn open_device(namespace: &str, name: &str) -> io::Result<File> {
    let place = File::open(format!("/run/netns/{namespace}"))?;
    enter(&place)?;
    let device = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let flags = c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    let mut request = DeviceRequest { name: [0; NAME_LENGTH], flags, rest: [0; 22] };
    for (place, byte) in request.name.iter_mut().zip(name.bytes()).take(NAME_LENGTH - 1) {
        *place = c_char::from_ne_bytes([byte]);
    }
    become_device(&device, &request)?;
    Ok(device)
}

#[expect(unsafe_code, reason = "setns has no safe wrapper among our dependencies")]
fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: a system call that takes a descriptor we own and no memory.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

#[expect(unsafe_code, reason = "ioctl has no safe wrapper among our dependencies")]
fn become_device(device: &File, request: &DeviceRequest) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which `request` is in size and layout, and keeps nothing of it.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, std::ptr::from_ref(request)) })
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Devices 0 and 1 are one link, 2 and 3 the next. One delay for all: the queue is in the order of time.
fn carry(devices: &[File], delay: Duration) -> io::Result<()> {
    let watch = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut watched: Vec<libc::pollfd> = std::iter::once(0).chain(devices.iter().map(AsRawFd::as_raw_fd)).map(watch).collect();
    let mut waiting: VecDeque<Packet> = VecDeque::new();
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        wait(&mut watched, waiting.front().map(|packet| packet.due.saturating_duration_since(now())))?;
        if watched.first().is_some_and(|stdin| stdin.revents != 0) && io::stdin().read(&mut buffer)? == 0 {
            return Ok(());
        }
        for (from, mut device) in devices.iter().enumerate() {
            for _ in 0..BATCH {
                let Ok(length) = device.read(&mut buffer) else { break };
                if let (Some(bytes), true) = (buffer.get(..length), waiting.len() < MOST_WAITING) {
                    waiting.push_back(Packet { due: now() + delay, to: from ^ 1, bytes: bytes.to_vec() });
                }
            }
        }
        while waiting.front().is_some_and(|packet| packet.due <= now()) {
            let Some(packet) = waiting.pop_front() else { break };
            if let Some(mut device) = devices.get(packet.to) {
                // A device that is down loses what comes, as a cable does.
                let _lost = device.write(&packet.bytes);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a real link: it has the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(unsafe_code, reason = "ppoll has no safe wrapper among our dependencies")]
fn wait(watched: &mut [libc::pollfd], most: Option<Duration>) -> io::Result<()> {
    let limit = most.map(|most| libc::timespec { tv_sec: most.as_secs().try_into().unwrap_or(libc::time_t::MAX), tv_nsec: most.subsec_nanos().into() });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = watched.len().try_into().map_err(io::Error::other)?;
    // SAFETY: the list and its length belong together; the limit is null or lives until the call is over.
    match check(unsafe { libc::ppoll(watched.as_mut_ptr(), count, limit, std::ptr::null()) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        done => done,
    }
}
