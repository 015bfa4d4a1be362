//! How long each step took.

use std::time::Instant;

use serde::Serialize;

/// A step that has ended.
#[derive(Debug, Clone, Serialize)]
pub struct Timing {
    /// Kbuild's word for the step.
    pub verb: String,
    /// The file that it made or changed.
    pub output: String,
    /// `native`, `kernel` or `linker`.
    pub engine: String,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// Collects timings in the order of the steps.
#[derive(Debug, Default)]
pub struct Timeline {
    steps: Vec<Timing>,
}

impl Timeline {
    /// Records a step that ran from `start` to now.
    pub fn push(&mut self, verb: &str, output: &str, engine: &str, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        let (verb, output, engine) = (verb.to_string(), output.to_string(), engine.to_string());
        self.steps.push(Timing { verb, output, engine, seconds });
    }

    /// All steps so far.
    pub fn into_steps(self) -> Vec<Timing> {
        self.steps
    }
}
