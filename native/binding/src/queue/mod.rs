//! The two queues between the JavaScript thread and the I/O thread, and the desk for questions.
//!
//! | file | direction |
//! |---|---|
//! | `layout` | the words of records and commands, as they cross |
//! | `records` | I/O thread to JavaScript: records and their payload bytes |
//! | `rope` | payload bytes in pooled blocks |
//! | `commands` | JavaScript to I/O thread |
//! | `answer` | one answer, waited for |
//!
//! Each direction is one lock around values that are swapped in batches; in steady state nothing is allocated per record.

pub mod answer;
pub mod commands;
pub mod layout;
pub mod records;
pub mod rope;
