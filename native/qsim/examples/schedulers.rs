//! Prints each scheduler at home beside `min-rtt`: `cargo run -p qsim --example schedulers -- [SEEDS] [NAME…]`.
//!
//! One JSON line a scheduler: medians over the seeds 1…SEEDS (50), less is better.

use std::io::Write;

use qsim::measure::Home;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seeds = arguments.first().and_then(|argument| argument.parse::<u64>().ok()).unwrap_or(50);
    let wanted: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<u64>().is_err()).collect();
    let mut out = std::io::stdout().lock();
    for home in Home::ALL.into_iter().filter(|home| wanted.is_empty() || wanted.iter().any(|name| *name == home.scheduler.name())) {
        let (own, min_rtt) = home.compare(1..=seeds).map_err(|failure| failure.to_string())?;
        let line = format!(
            "{{\"scheduler\":\"{}\",\"metric\":\"{}\",\"value\":{:.3},\"minRtt\":{:.3},\"extra\":{:.4},\"minRttExtra\":{:.4},\"beats\":{}}}",
            home.scheduler.name(),
            home.metric,
            own.value,
            min_rtt.value,
            own.extra,
            min_rtt.extra,
            own.value < min_rtt.value,
        );
        writeln!(out, "{line}")?;
    }
    Ok(())
}
