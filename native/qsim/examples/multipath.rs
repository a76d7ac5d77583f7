//! Prints the table of downloads over several paths: `cargo run -p qsim --example multipath -- [--quick] [CASE…]`.
//!
//! One JSON line a case: the median over the seeds in Mbit/s, the slowest, the single path's, the target.

use std::io::Write;

use qsim::measure::{Case, Target, median};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seeds = if arguments.iter().any(|argument| argument == "--quick") { 1..=3 } else { 1..=20 };
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut out = std::io::stdout().lock();
    for case in Case::all().into_iter().filter(|case| wanted.is_empty() || wanted.iter().any(|name| *name == case.name)) {
        let case = if arguments.iter().any(|argument| argument == "--ack-fastest") { Case { ack_path: qconnection::AckPath::Fastest, ..case } } else { case };
        let runs = case.runs(seeds.clone()).map_err(|failure| failure.to_string())?;
        let single = median(&case.single().runs(seeds.clone()).map_err(|failure| failure.to_string())?);
        let throughput = median(&runs);
        let target = match case.target {
            Target::Throughput(target) => target,
            Target::TimesSingle(times) => times * single,
        };
        let slowest = runs.first().copied().unwrap_or_default();
        let line = format!(
            "{{\"case\":\"{}\",\"metric\":\"throughput\",\"unit\":\"Mbit/s\",\"value\":{throughput:.2},\"slowest\":{slowest:.2},\"single\":{single:.2},\"target\":{target:.2},\"reached\":{}}}",
            case.name,
            throughput >= target,
        );
        writeln!(out, "{line}")?;
    }
    Ok(())
}
