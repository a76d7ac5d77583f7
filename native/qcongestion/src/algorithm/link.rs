//! A bottleneck and flows that share it: what the controllers' scenarios run on.
//!
//! One queue with tail drop in front of one rate, then half a round trip each way; the receiver acknowledges every packet.
//! Everything is a function of the settings and the seed. Senders pace and detect losses as RFC 9002 says, without timers
//! for tails: a flow that hears nothing for a second gives all up and starts again.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use qbase::Timestamp;

use super::{Algorithm, SlowStart, build};
use crate::{Acked, AppLimited, Controller, Lost, Pacer, Persistence, RttEstimator, loss::PACKET_THRESHOLD};

/// Bytes of every packet.
pub(super) const MTU: u64 = 1_200;
/// Silence after which a flow gives up what is on its way.
const SILENCE: Duration = Duration::from_secs(1);

/// Qualities of the bottleneck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Bits per second.
    pub rate: u64,
    /// Round trip without a queue.
    pub rtt: Duration,
    /// Bytes that may wait.
    pub queue: u64,
    /// Packets of a million that vanish before the queue.
    pub lost_per_million: u64,
}

impl Shape {
    /// Bytes a round trip without a queue holds.
    pub fn bdp(&self) -> u64 {
        (u128::from(self.rate) * self.rtt.as_nanos() / 8_000_000_000) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The flow may send.
    Poll(usize),
    /// The ACK of a packet arrives.
    Ack(usize, u64),
    /// The flow looks whether it heard anything.
    Look(usize),
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    at: Timestamp,
}

/// One sender.
#[derive(Debug)]
pub(super) struct Flow {
    pub controller: Box<dyn Controller>,
    pub rtt: RttEstimator,
    /// Bytes acknowledged.
    pub delivered: u64,
    /// Packets declared lost.
    pub lost: u64,
    /// Bytes the application has for it; `u64::MAX` is a bulk transfer.
    pub supply: u64,
    pub in_flight: u64,
    pacer: Pacer,
    sent: VecDeque<Sent>,
    next_number: u64,
    largest_acked: u64,
    heard_at: Timestamp,
    app_limited: bool,
    /// Flows of one connection have the same.
    group: Option<u32>,
    /// When the flow polls again anyway.
    poll_at: Timestamp,
}

/// The bottleneck with its flows.
#[derive(Debug)]
pub(super) struct World {
    pub shape: Shape,
    pub now: Timestamp,
    pub flows: Vec<Flow>,
    /// Packets the queue refused.
    pub refused: u64,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    counter: u64,
    /// When the wire is through with all it has.
    busy_until: Timestamp,
    random: u64,
}

impl World {
    pub fn new(shape: Shape) -> Self {
        let (events, flows) = (BinaryHeap::new(), Vec::new());
        Self { shape, now: Timestamp::ZERO, flows, refused: 0, events, counter: 0, busy_until: Timestamp::ZERO, random: 1 }
    }

    /// With luck of its own.
    pub fn seeded(shape: Shape, seed: u64) -> Self {
        Self { random: seed, ..Self::new(shape) }
    }

    /// The same on one path of a connection.
    pub fn add_to_group(&mut self, algorithm: Algorithm, slow_start: SlowStart, group: u32) -> usize {
        let id = self.add(algorithm, slow_start);
        self.flows[id].group = Some(group);
        id
    }

    /// Tells a flow what the others of its connection have.
    fn couple(&mut self, id: usize) {
        let Some(group) = self.flows[id].group else { return };
        let subflow = |flow: &Flow| flow.controller.subflow(flow.rtt.first_sample_at().map_or(Duration::ZERO, |_| flow.rtt.smoothed()));
        let all: Vec<_> = self.flows.iter().filter(|flow| flow.group == Some(group)).filter_map(subflow).collect();
        if let Some(own) = subflow(&self.flows[id]) {
            self.flows[id].controller.couple(&own, &all);
        }
    }

    /// A bulk transfer from now on.
    pub fn add(&mut self, algorithm: Algorithm, slow_start: SlowStart) -> usize {
        let flow = Flow {
            controller: build(algorithm, slow_start, MTU),
            rtt: RttEstimator::new(Duration::from_millis(333)),
            delivered: 0,
            lost: 0,
            supply: u64::MAX,
            in_flight: 0,
            pacer: Pacer::new(MTU),
            sent: VecDeque::new(),
            next_number: 0,
            largest_acked: 0,
            heard_at: self.now,
            app_limited: false,
            group: None,
            poll_at: Timestamp::FAR_FUTURE,
        };
        self.flows.push(flow);
        let id = self.flows.len() - 1;
        self.push(self.now, Event::Poll(id));
        self.push(self.now + SILENCE, Event::Look(id));
        id
    }

    /// More bytes from the application of a flow.
    pub fn supply(&mut self, flow: usize, bytes: u64) {
        self.flows[flow].supply = self.flows[flow].supply.saturating_add(bytes);
        self.push(self.now, Event::Poll(flow));
    }

    /// Bytes waiting or on the wire's head.
    pub fn queued(&self) -> u64 {
        let wait = self.busy_until.saturating_since(self.now).as_nanos();
        (wait * u128::from(self.shape.rate) / 8_000_000_000) as u64
    }

    /// Lets time pass, and looks at the world after every event.
    pub fn run_watched(&mut self, time: Duration, mut watch: impl FnMut(&Self)) {
        let end = self.now + time;
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = self.now.max(at);
            self.handle(event);
            watch(self);
        }
        self.now = end;
    }

    pub fn run(&mut self, time: Duration) {
        self.run_watched(time, |_| {});
    }

    /// Share of the rate that the flows delivered in a further stretch of time, each.
    pub fn shares(&mut self, time: Duration) -> Vec<f64> {
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.delivered).collect();
        self.run(time);
        let capacity = self.shape.rate as f64 / 8.0 * time.as_secs_f64();
        self.flows.iter().zip(before).map(|(flow, before)| (flow.delivered - before) as f64 / capacity).collect()
    }

    fn push(&mut self, at: Timestamp, event: Event) {
        self.counter += 1;
        self.events.push(Reverse((at, self.counter, event)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Poll(flow) => {
                if self.flows[flow].poll_at <= self.now {
                    self.flows[flow].poll_at = Timestamp::FAR_FUTURE;
                }
                self.send(flow);
            }
            Event::Ack(flow, number) => {
                self.couple(flow);
                self.flows[flow].on_ack(self.now, number);
                self.send(flow);
            }
            Event::Look(flow) => {
                self.flows[flow].on_look(self.now);
                self.push(self.now + SILENCE / 4, Event::Look(flow));
                self.send(flow);
            }
        }
    }

    /// Sends what window, pacer and supply allow, in bursts.
    fn send(&mut self, id: usize) {
        loop {
            let flow = &mut self.flows[id];
            let room = flow.controller.window().saturating_sub(flow.in_flight);
            let budget = flow.pacer.budget(self.now, flow.controller.as_ref(), &flow.rtt, MTU);
            let packets = room.min(budget).min(flow.supply) / MTU;
            flow.app_limited = flow.supply < MTU && room >= MTU && budget >= MTU;
            if packets == 0 {
                if flow.app_limited {
                    flow.controller.on_app_limited(flow.in_flight);
                } else if room >= MTU && flow.supply >= MTU {
                    let at = flow.pacer.next_at(self.now, MTU);
                    if at < flow.poll_at {
                        flow.poll_at = at;
                        self.push(at, Event::Poll(id));
                    }
                }
                return;
            }
            let bytes = packets * MTU;
            if flow.supply != u64::MAX {
                flow.supply -= bytes;
            }
            flow.in_flight += bytes;
            flow.pacer.on_sent(bytes);
            flow.controller.on_sent(self.now, bytes, flow.in_flight);
            for _ in 0..packets {
                let number = self.flows[id].next_number;
                self.flows[id].next_number += 1;
                self.flows[id].sent.push_back(Sent { number, at: self.now });
                self.transmit(id, number);
            }
        }
    }

    fn transmit(&mut self, id: usize, number: u64) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (self.random >> 33) % 1_000_000 < self.shape.lost_per_million {
            return;
        }
        if self.queued() + MTU > self.shape.queue.max(MTU) {
            self.refused += 1;
            return;
        }
        let wire = Duration::from_nanos(MTU * 8_000_000_000 / self.shape.rate);
        self.busy_until = self.busy_until.max(self.now) + wire;
        self.push(self.busy_until + self.shape.rtt, Event::Ack(id, number));
    }
}

impl Flow {
    fn on_ack(&mut self, now: Timestamp, number: u64) {
        let Some(place) = self.sent.iter().position(|sent| sent.number == number) else { return };
        let Some(sent) = self.sent.remove(place) else { return };
        self.heard_at = now;
        self.delivered += MTU;
        self.in_flight -= MTU;
        let sample = now.saturating_since(sent.at);
        self.largest_acked = self.largest_acked.max(number);
        self.rtt.on_sample(now, sample, Duration::ZERO);
        let app_limited = if self.app_limited { AppLimited::Yes } else { AppLimited::No };
        let acked = Acked {
            bytes: MTU,
            newest_sent_at: sent.at,
            bytes_in_flight: self.in_flight,
            app_limited,
            rtt_sample: Some(sample),
        };
        self.controller.on_acked(now, &acked, &self.rtt);
        self.give_up(now, |sent, largest| sent.number + PACKET_THRESHOLD <= largest, Persistence::None);
    }

    fn on_look(&mut self, now: Timestamp) {
        if self.in_flight > 0 && now.saturating_since(self.heard_at) >= SILENCE {
            self.give_up(now, |_, _| true, Persistence::Established);
        }
    }

    fn give_up(&mut self, now: Timestamp, lost: impl Fn(&Sent, u64) -> bool, persistent: Persistence) {
        let mut packets = 0;
        let mut newest_sent_at = Timestamp::ZERO;
        while let Some(sent) = self.sent.front()
            && lost(sent, self.largest_acked)
        {
            newest_sent_at = sent.at;
            packets += 1;
            self.sent.pop_front();
        }
        if packets > 0 {
            self.lost += packets;
            self.in_flight -= packets * MTU;
            self.controller.on_lost(now, &Lost { bytes: packets * MTU, newest_sent_at, persistent });
        }
    }
}

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 50 Mbit/s, 40 ms and a queue of so many bandwidth-delay products.
pub fn bottleneck(products: u64) -> Shape {
    let shape = Shape { rate: 50_000_000, rtt: ms(40), queue: 0, lost_per_million: 0 };
    Shape { queue: shape.bdp() * products, ..shape }
}
