//! Protocols whose connections have parts to play (mux R50): what connections are born with.
//!
//! Called by the application. Connections that exist keep what they were born with.

use super::Endpoint;
use crate::connection::Polarity;
use std::sync::Arc;

impl Endpoint {
    /// Connections that begin from now on and agree on this protocol are polarised. Again: with this code instead.
    pub fn polarise(&mut self, polarity: Polarity) {
        self.forget_polarity(&polarity.alpn);
        self.polarities = self.polarities.iter().cloned().chain([polarity]).collect();
    }

    /// Connections that begin from now on with this protocol are ordinary ones.
    pub fn forget_polarity(&mut self, alpn: &[u8]) {
        if self.polarities.iter().any(|known| known.alpn == alpn) {
            self.polarities = self.polarities.iter().filter(|known| known.alpn != alpn).cloned().collect::<Arc<[_]>>();
        }
    }
}
