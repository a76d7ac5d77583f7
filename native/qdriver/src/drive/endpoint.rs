//! The machine of this project behind the loop's verbs.
//!
//! Called by the loop. Converts, decides nothing.

use std::net::SocketAddr;

use qbase::{Ecn, FourTuple, Timestamp};
use qconnection::{Burst, Endpoint, SendLimits};

use super::machine::{Departure, Machine, Received, RoutedRun, SendFailure, SocketId, SocketWish};

impl Machine for Endpoint {
    type Burst = Burst;

    fn handle_datagram(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, datagram: &mut [u8]) -> Received {
        Self::handle_datagram(self, now, four_tuple, ecn, datagram)
    }

    fn route_run(&mut self, now: Timestamp, four_tuple: FourTuple, train: &[u8], segment_len: usize) -> RoutedRun {
        Self::route_run(self, now, four_tuple, train, segment_len)
    }

    fn on_unsent(&mut self, datagrams: usize, bytes: usize) {
        Self::on_unsent(self, datagrams, bytes);
    }

    fn poll_transmit(&mut self, now: Timestamp, buffer: &mut [u8], max_segments: usize) -> Option<Burst> {
        Self::poll_transmit(self, now, buffer, &SendLimits { max_segments })
    }

    fn departure(burst: &Burst) -> Departure {
        let Burst { four_tuple, ecn, hop_limit, len, segment_size, path, connection, .. } = *burst;
        Departure { four_tuple, ecn, hop_limit, len, segment_size, path: connection.map(|_| path) }
    }

    fn on_submitted(&mut self, burst: &Burst, segments: usize, now: Timestamp) {
        Self::on_submitted(self, burst, segments, now);
    }

    fn on_send_error(&mut self, burst: &Burst, failure: SendFailure, now: Timestamp) {
        Self::on_send_error(self, burst, failure, now);
    }

    fn awaits_answer(&mut self) -> bool {
        Self::awaits_answer(self)
    }

    fn on_port_unreachable(&mut self, now: Timestamp, remote: SocketAddr, quoted: &[u8]) {
        Self::on_port_unreachable(self, now, remote, quoted);
    }

    fn poll_socket_wish(&mut self) -> Option<SocketWish> {
        Self::poll_socket_wish(self)
    }

    fn on_socket(&mut self, id: SocketId, local: Option<SocketAddr>, now: Timestamp) {
        Self::on_socket(self, id, local, now);
    }

    fn next_timer(&self) -> Option<Timestamp> {
        Self::next_timer(self).map(|(at, _)| at)
    }

    fn on_timer(&mut self, now: Timestamp) {
        Self::on_timer(self, now);
    }
}
