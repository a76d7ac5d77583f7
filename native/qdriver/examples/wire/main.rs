//! Links with a delay between network namespaces, where the kernel has no `netem`: TUN devices, one at each end, packets carried between
//! them here. Run as root by the NAT laboratory of the tests (`src/lab/real`):
//! `wire DELAY_US NAMESPACE:DEVICE=NAMESPACE:DEVICE…`
//!
//! Says `ready` when the devices are there, ends with its stdin. Packets stay in their order; none is lost unless too many wait.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
