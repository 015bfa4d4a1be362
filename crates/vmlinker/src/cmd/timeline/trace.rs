//! A timeline as trace events: the format that Perfetto and chrome://tracing open.
//!
//! A link is a process, a lane a thread, a step a complete event (`X`); the link itself is an event around those of
//! the first lane.
//!
//! Source of facts: "Trace Event Format", Google, 2016.

use pipeline::timeline::{Link, Links, Step};
use serde_json::{Value, json};

use super::view::lanes;

/// The events of both links.
pub fn trace(links: &Links) -> Value {
    let mut events = of_link(&links.link, 1, "this link");
    if let Some(before) = &links.previous {
        events.extend(of_link(before, 2, "the link before"));
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ms" })
}

fn of_link(link: &Link, pid: u32, which: &str) -> Vec<Value> {
    let named = |kind: &str, tid: usize, name: String| json!({ "ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": { "name": name } });
    let lanes = lanes(&link.steps);
    let threads = lanes.iter().max().map_or(1, |last| last + 1);
    let mut events = vec![named("process_name", 1, format!("{}: {which}", link.output))];
    events.extend((1..=threads).map(|tid| {
        let name = if tid == 1 { "steps".to_string() } else { format!("beside {}", tid - 1) };
        named("thread_name", tid, name)
    }));
    let about = json!({
        "vmlinker": link.vmlinker,
        "linker": link.linker,
        "pahole": link.pahole,
        "schedule": link.schedule,
        "warm": link.warm,
        "threads": link.threads,
        "memory": link.memory,
        "contents": link.contents,
    });
    events.push(event(&link.output, "link", pid, 0, 0..link.wall_us, about));
    let steps = link.steps.iter().zip(lanes).map(|(step, lane)| {
        event(&step.name(), &step.engine, pid, lane, step.start_us..step.end_us, arguments(step))
    });
    events.extend(steps);
    events
}

/// A complete event; times are microseconds.
fn event(
    name: &str,
    category: &str,
    pid: u32,
    lane: usize,
    time: std::ops::Range<u64>,
    arguments: Value,
) -> Value {
    json!({
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": pid,
        "tid": lane + 1,
        "ts": time.start,
        "dur": time.end - time.start,
        "args": arguments,
    })
}

fn arguments(step: &Step) -> Value {
    json!({
        "engine": step.engine,
        "threads": step.threads,
        "cpu_us": step.cpu_us,
        "child_memory": step.child_memory,
        "read": step.read,
        "written": step.written,
        "waited_for": step.waited_for,
        "blocked_us": step.blocked_us,
    })
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{hostile, links};
    use super::*;

    #[test]
    fn a_link_is_a_process_and_a_lane_a_thread() {
        let trace = trace(&links());
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |phase: &str, pid: u32| {
            events.iter().filter(|event| event["ph"] == phase && event["pid"] == pid).count()
        };
        // The process and two threads; four steps and their link; one step more in the link before.
        assert_eq!((of("M", 1), of("X", 1), of("M", 2), of("X", 2)), (3, 5, 3, 6));
        let prep = events.iter().find(|event| event["name"] == "PREP vmlinux.o").unwrap();
        assert_eq!(
            (&prep["tid"], &prep["ts"], &prep["dur"]),
            (&json!(2), &json!(1000), &json!(499_000))
        );
        let btf = events.iter().find(|event| event["name"] == "BTF b.o").unwrap();
        assert_eq!(btf["args"]["waited_for"], json!(["LD .tmp_vmlinux1", "PREP vmlinux.o"]));
    }

    #[test]
    fn any_text_makes_valid_json() {
        let text = trace(&hostile()).to_string();
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, trace(&hostile()));
        assert!(!text.contains('\n') && !text.contains('\x1b'));
    }
}
