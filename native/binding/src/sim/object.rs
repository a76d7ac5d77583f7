//! The class `NativeWorld` of `src/binding/world.ts`: a simulated world as JavaScript holds it.
//!
//! Decides nothing: it converts. Nodes, links and endpoints are numbers in the order of their making.

use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc};

use napi::bindgen_prelude::{Buffer, Float64ArraySlice};
use napi_derive::napi;
use qbase::Timestamp;
use qcrypto::development;
use qdriver::drive::Manual;
use qsim::{
    Clock, Directions, Interface, LinkDirection,
    wires::{LinkId, Observation},
    world::{Addressing, NodeId, Plug, PortId, Side, UNIX_TIME},
};
use serde::{Deserialize, Serialize};

use super::{
    Seat,
    nat::NatShape,
    shape::Shape,
    world::{Waits, Watching, World},
};
use crate::{
    endpoint::{Home, NativeEndpoint, Parts},
    error::{NativeError, guarded},
    failures::bind_failure,
    link::TimeSource,
    lock::{Lock, lock},
    memory,
    options::{endpoint::Birth, tls::Providers, to_hex},
    wake::Wake,
};

/// `NativeWorldOptions`.
#[derive(Deserialize)]
struct Options {
    seed: f64,
    record: bool,
}

/// `NativeLink`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewLink {
    a: u32,
    b: u32,
    /// The end is the inside of a translator.
    #[serde(default)]
    inside_a: bool,
    #[serde(default)]
    inside_b: bool,
    shape: Shape,
    address_a: Option<IpAddr>,
    address_b: Option<IpAddr>,
}

/// `NativeLinkFacts`.
#[derive(Serialize)]
struct LinkFacts {
    up: bool,
    delivered: u64,
    loss: u64,
    queue: u64,
    cut: u64,
    mtu: u64,
    bytes: u64,
}

/// `NativeInterface`.
#[derive(Serialize)]
struct InterfaceFacts {
    name: String,
    address: String,
    up: bool,
}

/// `NativeSimEvent`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SimEvent {
    at_ms: f64,
    link: u32,
    from: String,
    to: String,
    bytes: usize,
    fate: &'static str,
    deliver_at_ms: Option<f64>,
}

/// `NativeIdentity`.
#[derive(Serialize)]
struct Identity {
    cert: String,
    key: String,
}

/// A world of JavaScript's.
#[napi]
pub struct NativeWorld {
    world: Rc<RefCell<World>>,
    /// Where certificates come from: the same names have the same certificate whatever was asked before.
    identity_seed: [u8; 32],
}

impl NativeWorld {
    /// Nothing yet; see `createWorld`.
    pub(crate) fn create(options: &str) -> napi::Result<Self> {
        guarded(|| {
            let Options { seed, record } = serde_json::from_str(options)?;
            let mut world = World::new(whole(seed));
            let identity_seed = world.random.seed();
            if record {
                world.recorded = Some(Vec::new());
                world.keys = Some(Arc::default());
                world.observe();
            }
            Ok(Self { world: Rc::new(RefCell::new(world)), identity_seed })
        })
    }

    fn with<T>(&self, call: impl FnOnce(&mut World) -> Result<T, NativeError>) -> napi::Result<T> {
        guarded(|| {
            let busy = |_| NativeError::internal("the simulated world was called from within itself");
            call(&mut *self.world.try_borrow_mut().map_err(busy)?)
        })
    }

    /// An endpoint on a host: its sockets are bound when this returns.
    fn seat(&self, host: NodeId, json: &str) -> Result<NativeEndpoint, NativeError> {
        let busy = |_| NativeError::internal("the simulated world was called from within itself");
        let mut world = self.world.try_borrow_mut().map_err(busy)?;
        let birth = Birth { seed: world.random.seed(), secret: world.random.seed(), unix_at_zero: UNIX_TIME };
        let random = Arc::new(Lock::new(qsim::Random::labelled(world.random.next_u64(), 0)));
        let clock = TimeSource::Virtual { now: world.clock(), zero: world.now() };
        let mut parts = Parts::new(json, Wake::default(), &birth, clock)?;
        parts.surroundings.providers = Providers::Seeded(random);
        if let Some(keys) = &world.keys {
            let (keys, own) = (Arc::clone(keys), parts.surroundings.keylog.take());
            parts.surroundings.keylog = Some(Arc::new(move |line: &str| {
                lock(&keys).push(line.to_owned());
                if let Some(own) = &own {
                    own(line);
                }
            }));
        }
        let seat = world.next_seat();
        let style = parts.options.sockets();
        let wanted = if parts.options.local.is_empty() {
            let own: Vec<IpAddr> = world.topology.addresses(host).collect();
            world.sockets.default_addresses(host, &own)
        } else {
            parts.options.local.clone()
        };
        let mut local = Vec::with_capacity(wanted.len());
        for address in wanted {
            match world.place(host, seat).open(&style.socket(address, None)) {
                Ok(facts) => local.push(facts.local.to_string()),
                Err(error) => {
                    world.sockets.leave(seat);
                    return Err(bind_failure(&error));
                }
            }
        }
        parts.link.set_local(local);
        let segments = parts.options.max_segments();
        Ok(NativeEndpoint::seated(parts, |machine, engine, wake| {
            world.sit(host, wake, Manual::new(machine, engine.with_spaced_calls(), segments));
            Home::World(Seat::new(Rc::clone(&self.world), seat, Rc::clone(&world.bells)))
        }))
    }
}

#[expect(clippy::fn_params_excessive_bools, reason = "JavaScript gives booleans")]
#[napi]
impl NativeWorld {
    /// A host's number.
    #[napi]
    pub fn host(&self) -> napi::Result<u32> {
        self.with(|world| Ok(world.topology.host().0))
    }

    /// A router's number.
    #[napi]
    pub fn router(&self) -> napi::Result<u32> {
        self.with(|world| Ok(world.topology.router().0))
    }

    /// An address translator's number; JSON of `NativeNat`.
    #[napi]
    pub fn nat(&self, options: String) -> napi::Result<u32> {
        self.with(|world| {
            let options = serde_json::from_str::<NatShape>(&options)?.read()?;
            Ok(world.topology.nat(options).0)
        })
    }

    /// Another kind of translator from now on: JSON of `NativeNat`.
    #[napi]
    pub fn set_nat(&self, nat: u32, options: String) -> napi::Result<()> {
        self.with(|world| {
            let options = serde_json::from_str::<NatShape>(&options)?.read()?;
            world.topology.set_nat(NodeId(nat), options);
            Ok(())
        })
    }

    /// Forgets all mappings of a translator.
    #[napi]
    pub fn rebind(&self, nat: u32) -> napi::Result<()> {
        self.with(|world| {
            world.topology.rebind(NodeId(nat));
            Ok(())
        })
    }

    /// Mappings of a translator: JSON of `[inside, outside][]`.
    #[napi]
    pub fn mappings(&self, nat: u32) -> napi::Result<String> {
        self.with(|world| {
            let now = world.now();
            let pairs = world.topology.mappings(now, NodeId(nat)).map(|(inside, outside)| (inside.to_string(), outside.to_string()));
            Ok(serde_json::to_string(&pairs.collect::<Vec<_>>())?)
        })
    }

    /// Joins two nodes; answers the link's number.
    #[napi]
    pub fn link(&self, options: String) -> napi::Result<u32> {
        self.with(|world| {
            let NewLink { a, b, inside_a, inside_b, shape, address_a, address_b } = serde_json::from_str(&options)?;
            let (shape, now) = (shape.read()?, world.now());
            let plug = |node, is_inside| Plug { node: NodeId(node), side: if is_inside { Side::Inside } else { Side::Outside } };
            let addressing = Addressing { a: address_a, b: address_b };
            let link = world.topology.link(now, plug(a, inside_a), plug(b, inside_b), &shape, addressing);
            link.map(|link| link.0).map_err(|error| NativeError::option("link", error))
        })
    }

    /// New qualities from now on.
    #[napi]
    pub fn set_link(&self, link: u32, shape: String, direction: String) -> napi::Result<()> {
        self.with(|world| {
            let (shape, now) = (serde_json::from_str::<Shape>(&shape)?.read()?, world.now());
            world.topology.set(now, LinkId(link), &shape, directions(&direction));
            Ok(())
        })
    }

    /// Cuts a link, or mends it.
    #[napi]
    pub fn cut_link(&self, link: u32, cut: bool, direction: String) -> napi::Result<()> {
        self.with(|world| {
            let (now, directions) = (world.now(), directions(&direction));
            if cut {
                world.topology.cut(now, LinkId(link), directions);
            } else {
                world.topology.restore(now, LinkId(link), directions);
            }
            Ok(())
        })
    }

    /// What a link has done, JSON.
    #[napi]
    pub fn link_facts(&self, link: u32) -> napi::Result<String> {
        self.with(|world| {
            let ways = [LinkDirection::AToB, LinkDirection::BToA].map(|way| world.topology.statistics(LinkId(link), way));
            let sum = |number: fn(&qsim::LinkStatistics) -> u64| ways.iter().map(number).sum();
            let facts = LinkFacts {
                up: world.topology.is_up(LinkId(link)),
                delivered: sum(|way| way.delivered),
                loss: sum(|way| way.lost),
                queue: sum(|way| way.queue_full),
                cut: sum(|way| way.cut),
                mtu: sum(|way| way.too_long),
                bytes: sum(|way| way.delivered_bytes),
            };
            Ok(serde_json::to_string(&facts)?)
        })
    }

    /// The address at one end (0: `a`, 1: `b`) of a link.
    #[napi]
    pub fn address(&self, link: u32, end: u32) -> napi::Result<String> {
        self.with(|world| {
            let address = port(world, link, end).and_then(|port| world.topology.address(port));
            Ok(address.map(|address| address.to_string()).unwrap_or_default())
        })
    }

    /// The addresses of a node, in the order of its links.
    #[napi]
    pub fn addresses(&self, node: u32) -> napi::Result<Vec<String>> {
        self.with(|world| Ok(world.topology.addresses(NodeId(node)).map(|address| address.to_string()).collect()))
    }

    /// The attachments of a node: JSON of `NativeInterface[]`.
    #[napi]
    pub fn interfaces(&self, node: u32) -> napi::Result<String> {
        self.with(|world| {
            let all = world.topology.interfaces(NodeId(node)).enumerate().map(|(number, (address, state))| InterfaceFacts {
                name: format!("eth{number}"),
                address: address.to_string(),
                up: state == Interface::Up,
            });
            Ok(serde_json::to_string(&all.collect::<Vec<_>>())?)
        })
    }

    /// Takes the interface at one end of a link down, or up.
    #[napi]
    pub fn set_port(&self, link: u32, end: u32, up: bool) -> napi::Result<()> {
        self.with(|world| {
            let (now, state) = (world.now(), if up { Interface::Up } else { Interface::Down });
            if let Some(port) = port(world, link, end) {
                world.topology.set_interface(now, port, state);
            }
            Ok(())
        })
    }

    /// Gives one end of a link another address; answers it.
    #[napi]
    pub fn renumber(&self, link: u32, end: u32, address: Option<String>) -> napi::Result<String> {
        self.with(|world| {
            let now = world.now();
            let wanted = address.map(|text| text.parse::<IpAddr>().map_err(|error| NativeError::option("address", error)));
            let port = port(world, link, end).ok_or_else(|| NativeError::internal("a port that is not there"))?;
            let address = world.topology.renumber(now, port, wanted.transpose()?);
            address.map(|address| address.to_string()).map_err(|error| NativeError::option("address", error))
        })
    }

    /// An endpoint on a host. `options`: JSON of `NativeEndpointOptions`; without addresses it is bound to all of the host's.
    #[napi]
    pub fn create_endpoint(&self, host: u32, options: String) -> napi::Result<NativeEndpoint> {
        guarded(|| self.seat(NodeId(host), &options))
    }

    /// Every endpoint of a host ends without a word; these words reach JavaScript.
    #[napi]
    pub fn crash(&self, host: u32, words: String) -> napi::Result<()> {
        self.with(|world| {
            world.crash(NodeId(host), &words);
            Ok(())
        })
    }

    /// Goes on until `until` (ns since the start), or until JavaScript has something to do; `idle`: though nothing happens
    /// before. Fills: now (ns), why it stopped, then endpoints whose records wait; answers how many those are.
    #[napi]
    pub fn step(&self, until: f64, idle: bool, mut out: Float64ArraySlice<'_>) -> napi::Result<u32> {
        self.with(|world| {
            let until = Clock::START + std::time::Duration::from_nanos(whole(until));
            let pause = world.step(until, if idle { Waits::ForTime } else { Waits::ForEvents });
            let out = memory::numbers(&mut out);
            let [now, why, woken @ ..] = out else { return Ok(0) };
            *now = since_start(world.now()) as f64;
            *why = f64::from(pause as u8);
            let mut count = 0_u32;
            for place in woken {
                let Some(seat) = world.take_woken() else { break };
                *place = seat as f64;
                count = count.saturating_add(1);
            }
            Ok(count)
        })
    }

    /// 16 random bytes out of the seed, hex.
    #[napi]
    pub fn random(&self) -> napi::Result<String> {
        self.with(|world| {
            let mut bytes = [0; 16];
            world.random.fill(&mut bytes);
            Ok(to_hex(&bytes))
        })
    }

    /// An Ed25519 certificate and its key out of the seed and the names: JSON of the names in, of `NativeIdentity` out.
    #[napi]
    pub fn identity(&self, names: String) -> napi::Result<String> {
        guarded(|| {
            let names: Vec<String> = serde_json::from_str(&names)?;
            let made = development::seeded(&self.identity_seed, &names, 3_650, UNIX_TIME);
            let made = made.map_err(|error| NativeError::option("names", error))?;
            Ok(serde_json::to_string(&Identity { cert: made.cert_pem, key: made.key_pem })?)
        })
    }

    /// SHA-256 over what became of every datagram so far, hex.
    #[napi]
    pub fn trace_hash(&self) -> napi::Result<String> {
        self.with(|world| Ok(world.topology.trace().hex()))
    }

    /// Everything that was on the links, as a pcapng file with the keys; `None`: nothing was recorded. `links`: their names.
    #[napi]
    pub fn pcap(&self, links: Vec<String>) -> napi::Result<Option<Buffer>> {
        self.with(|world| {
            world.collect();
            let keys = world.keys.as_ref().map(|keys| lock(keys).clone()).unwrap_or_default();
            let file = world.recorded.as_ref().map(|recorded| qsim::pcap::file(&links, &keys, recorded, UNIX_TIME));
            Ok(file.map(Buffer::from))
        })
    }

    /// Whether the world stops for every datagram, so that `takeEvents` tells of it.
    #[napi]
    pub fn watch(&self, on: bool) -> napi::Result<()> {
        self.with(|world| {
            world.watching = if on { Watching::Yes } else { Watching::No };
            world.observe();
            Ok(())
        })
    }

    /// What became of datagrams since this was asked last: JSON of `NativeSimEvent[]`.
    #[napi]
    pub fn take_events(&self) -> napi::Result<String> {
        self.with(|world| Ok(serde_json::to_string(&world.take_events().iter().map(tell).collect::<Vec<_>>())?))
    }
}

fn port(world: &World, link: u32, end: u32) -> Option<PortId> {
    world.topology.ports(LinkId(link))?.get(usize::try_from(end).ok()?).copied()
}

fn directions(name: &str) -> Directions {
    match name {
        "a-to-b" => Directions::AToB,
        "b-to-a" => Directions::BToA,
        _ => Directions::Both,
    }
}

fn tell(seen: &Observation) -> SimEvent {
    let Observation { event, four_tuple, .. } = seen;
    SimEvent {
        at_ms: since_start(event.at) as f64 / 1e6,
        link: event.link.0,
        from: four_tuple.remote.to_string(),
        to: four_tuple.local.to_string(),
        bytes: event.len,
        fate: event.fate.name(),
        deliver_at_ms: event.arrives_at.map(|at| since_start(at) as f64 / 1e6),
    }
}

/// Nanoseconds of virtual time.
const fn since_start(at: Timestamp) -> u64 {
    at.as_nanos().saturating_sub(Clock::START.as_nanos())
}

/// A number of JavaScript's that counts something.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
const fn whole(number: f64) -> u64 {
    number.clamp(0.0, 9_007_199_254_740_992.0) as u64
}
